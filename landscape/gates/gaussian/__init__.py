"""Moments of pointwise functions of Gaussians, of many laws at once."""
