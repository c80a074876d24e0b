"""The content of a converted data set in numbers."""
