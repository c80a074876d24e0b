"""This process: its packages and processors, and its end at SIGTERM or when it stalls."""
