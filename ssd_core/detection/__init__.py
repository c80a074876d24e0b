"""The mathematics of SSD in NumPy, the oracle of every backend."""
