"""The `ssd` command; one module a group of commands."""
