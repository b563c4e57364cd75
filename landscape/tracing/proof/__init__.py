"""The proof that model and lattice compute the same: both are run, and compared."""
