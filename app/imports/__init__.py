"""Imports and exports: what a file says held against what is there, and what is there as files again."""
