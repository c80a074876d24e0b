"""What a converted data set contains, in numbers."""
