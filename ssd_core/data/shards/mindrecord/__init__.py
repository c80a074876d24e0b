"""MindRecord shards: the content of the files, and access to them with MindSpore."""
