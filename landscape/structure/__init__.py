"""What the topology alone decides: what must be carried where, symmetries, signs of values."""
