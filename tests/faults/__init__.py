"""Deliberate faults, and the machinery that runs tests against a library with one of them in it."""
