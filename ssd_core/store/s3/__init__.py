"""An S3 bucket as a place for directories."""
