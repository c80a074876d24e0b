"""From labelled photographs to batches."""
