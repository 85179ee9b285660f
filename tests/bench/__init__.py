"""The figures of docs/benchmarks.md. `python -m tests.bench [NAME ...]` runs them and prints a table."""
