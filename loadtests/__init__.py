"""Benchmarks: Surgate against its targets and its peers. They write what they measure and fail on no figure."""
