"""Accuracy of a detector: COCO metrics, thresholds, confusions and errors."""
