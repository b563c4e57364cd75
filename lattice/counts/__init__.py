"""How many paths lead from the outputs to an input: exact integers, distributions, multisets, and what they cost."""
