"""What the commands and the steps of a pipeline do: one module each, with a `run`."""
