"""Programs that follow a training while it runs: each takes the lines of its log."""
