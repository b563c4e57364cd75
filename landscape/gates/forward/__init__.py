"""The forward mean field: moments and covariances of the signal, and the rates that follow from them."""
