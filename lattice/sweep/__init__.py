"""From the top to the input: the reverse sweep that everything is counted by, and single routes, literally."""
