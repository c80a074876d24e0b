"""Accuracy of a detector: COCO metrics and confusion matrix."""
