"""From a source to verified shards: read, check, pack, publish."""
