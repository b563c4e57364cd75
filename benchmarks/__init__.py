"""The speed table: every row measures two or more ways to the same result side by side, in one run.

`python -m benchmarks` runs all rows and writes `results.md` and `results.json` here; `python -m benchmarks NAME ...` runs
the rows whose name contains a NAME and only prints. A new row is one function with the decorator `rows.row`, in a module
that `__main__` imports.
"""
