"""Trained models on images of any origin: the parts of `ssd predict` and of `load_detector`."""
