"""Accuracy: the COCO metrics."""
