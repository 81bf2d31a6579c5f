"""What algorithms are built from."""
