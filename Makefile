# For contributors; users need only the two commands of the README.
PYTHON ?= .venv/bin/python
export OMP_WAIT_POLICY = passive
EVALUATED = none-0 none-0-reweighted curvature-0.003 target-0.0003 norm-0.01

FUZZ_SECONDS ?= 600

.PHONY: help demo test check slow bench mutants figures laptop claims notebooks docs fuzz
