"""One rule for each ATen operation."""
