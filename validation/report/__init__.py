"""Self-contained HTML pages: what `--report` of `pilcro map`, `advise`, `train` and `erf` writes."""
