"""The one representation of a network: layers, their windows, and the lattice that they make."""
