"""Expected squared gradients: one law a file, and the guarantee that a prediction carries."""
