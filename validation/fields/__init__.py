"""Effective receptive fields: which pixels one unit of a layer of a network depends on, measured and predicted."""
