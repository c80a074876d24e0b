"""From labelled images to batches."""
