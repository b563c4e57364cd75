"""What a trained network looks at: its landscape over a data set, measured and left as it was found."""
