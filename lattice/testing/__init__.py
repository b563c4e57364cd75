"""Hypothesis strategies that make lattices, for property tests."""
