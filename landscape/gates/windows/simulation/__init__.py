"""Gaussian fields at fixed points: the maxima of many windows at once."""
