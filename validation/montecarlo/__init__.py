"""Is the predicted map the true one? Exact enumeration of tiny nets, Monte Carlo over initialisations, honest verdicts."""
