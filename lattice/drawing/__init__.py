"""Lattices as figures, graphs and HTML."""
