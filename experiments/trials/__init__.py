"""Sentences of the paper that nobody tried, each as an experiment of minutes: `make trials` writes docs/trials.json."""
