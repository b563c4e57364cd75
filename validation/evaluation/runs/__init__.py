"""Trained runs, and the pieces of work that an evaluation of them is made of."""
