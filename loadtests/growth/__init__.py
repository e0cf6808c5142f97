"""How time and memory grow with what a hospital, or a group of hospitals, holds: `python -m loadtests.growth`, or `make growth`."""
