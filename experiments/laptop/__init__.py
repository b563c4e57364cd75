"""The laptop's results: `make laptop` writes docs/laptop.md, docs/laptop.json and their figures."""
