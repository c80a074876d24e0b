"""Converted data sets on disk: the manifest, and one writer and one reader per shard format."""
