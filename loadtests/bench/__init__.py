"""What Surgate reaches against its targets and its peers: `make bench`, or `python -m loadtests.bench`."""
