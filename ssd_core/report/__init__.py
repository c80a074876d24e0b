"""Self-contained HTML pages, model cards and annotated images from plain data."""
