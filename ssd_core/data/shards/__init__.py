"""Packed data sets: the manifest, the writer and the reader."""
