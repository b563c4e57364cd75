"""What a unit sees, and where it lies: receptive fields, periods, symmetric sizes."""
