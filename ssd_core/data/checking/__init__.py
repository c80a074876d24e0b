"""Checks between readers and writers: listings, images, boxes, duplicates."""
