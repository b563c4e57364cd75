"""Fuzzing of everything that reads text or files: any bytes load, or raise a `PilcroError`, and do nothing else.

`tests/test_fuzz.py` tries fixed mutations of valid files in seconds; `make fuzz` looks for new ones, guided by coverage.
"""
