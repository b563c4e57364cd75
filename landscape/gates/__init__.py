"""What activations and maxima let through: slopes, second moments, the forward mean field."""
