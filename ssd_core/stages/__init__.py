"""The work of the commands and of the steps of a pipeline: one module each, with a `run`."""
