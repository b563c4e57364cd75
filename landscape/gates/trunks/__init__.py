"""Gates along a trunk: whole runs of them as a Markov process, computed in a few channels and at a few positions."""
