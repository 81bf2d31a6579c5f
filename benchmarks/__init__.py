"""What `make bench` measures: ratios to the machine's own limits, never asserted."""
