"""Speed of any detector."""
