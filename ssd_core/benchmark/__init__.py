"""Speed of a detector, and its history."""
