"""From a torch model to a lattice."""
