"""The command `python -m pipelines`."""
