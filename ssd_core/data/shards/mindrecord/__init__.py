"""MindRecord shards: the layout of the files, a writer and a reader."""
