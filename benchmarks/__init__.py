"""Side-by-side measurements: `python -m benchmarks` runs all, docs/performance.md lists them."""
