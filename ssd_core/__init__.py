"""Train, evaluate, benchmark and publish SSD object detectors."""

__version__ = "0.1.0"
