"""Measurements over families of networks: ladders of depth and width, the gallery, Lemma 1."""
