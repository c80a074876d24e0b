"""This process: its share of the processor, and its end at SIGTERM or when it stalls."""
