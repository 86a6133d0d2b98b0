"""The numbers of Fenghuo beside the least that the same machine can do: ``python -m benchmarks``."""
