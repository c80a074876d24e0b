"""The training loop, written once for all frameworks."""
