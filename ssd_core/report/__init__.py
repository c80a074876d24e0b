"""Self-contained HTML pages from plain data."""
