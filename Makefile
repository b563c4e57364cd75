# For contributors; users need only the two commands of the README.
PYTHON ?= .venv/bin/python
export OMP_WAIT_POLICY = passive

FUZZ_SECONDS ?= 600
NETS ?= 5000

.PHONY: help demo test lowest check slow fresh bench mutants figures laptop trials claims notebooks docs fuzz nets architecture gpu

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv: setup.cfg constraints.txt  ## a virtual environment with everything
	python3 -m venv .venv
	.venv/bin/pip install -q -c constraints.txt torch torchvision
	.venv/bin/pip install -q -c constraints.txt -e '.[dev]'
	@touch .venv

demo: .venv  ## predict, measure and plot ResNet-18 at 64 pixels
	$(PYTHON) -m validation map resnet18 --size 64 --check 200 --out map.png

test: .venv  ## the default test suite
	$(PYTHON) -m pytest -n 2

.venv-lowest: setup.cfg  # with the oldest Python and the lowest release of everything that setup.cfg allows
	python3.11 -m venv .venv-lowest
	sed -nE 's/^ +([a-z0-9-]+)>=([0-9.]+).*/\1==\2/p' setup.cfg > .venv-lowest/lowest.txt
	.venv-lowest/bin/pip install -q -c .venv-lowest/lowest.txt -e '.[test]'
	@touch .venv-lowest

lowest: .venv-lowest  ## the default test suite with the lowest versions; old packages may use what new ones deprecate
	.venv-lowest/bin/python -m pytest -n 2 -W ignore::DeprecationWarning

check: .venv  ## format, lint, types, import contracts
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports --no-cache

slow: .venv  ## the checks that take minutes
	$(PYTHON) -m pytest -m slow

fresh: .venv  ## the default suite with each of 20 other seeds (hours)
	for seed in $$(seq 1 20); do PILCRO_SEED=$$seed $(PYTHON) -m pytest -n 2 -q --hypothesis-seed=$$seed || exit 1; done

bench: .venv  ## measure the speed table, write benchmarks/results.md
	$(PYTHON) -m benchmarks

mutants: .venv  ## draw 200 small random faults of each area, print the share that the tests notice (hours)
	.venv/bin/pip install -q -c constraints.txt -e '.[mutation]'
	$(PYTHON) -m tests.faults.mutants --area core --draw 200
	$(PYTHON) -m tests.faults.mutants --area rest --draw 200

figures: .venv laptop  ## rebuild every figure in docs/ (an hour, of which the laptop's runs take half)
	$(PYTHON) -m experiments.figures

laptop: .venv  ## the paper's experiments at laptop scale, write docs/laptop.md (under two hours)
	$(PYTHON) -m experiments.laptop

trials: .venv  ## train the small networks behind docs/trials.json (ten minutes), from which docs/claims.md reads
	$(PYTHON) -m experiments.trials

claims: .venv  ## run the check of every statement of the paper, write docs/claims.md
	$(PYTHON) -m experiments.claims

architecture: .venv  ## draw the folders and their imports, write docs/architecture.svg
	$(PYTHON) -m experiments.architecture

notebooks: .venv  ## run every notebook and keep its outputs
	$(PYTHON) -m experiments.notebooks

docs: .venv  ## build the documentation site in docs/_build/html, without warnings
	.venv/bin/pip install -q -c constraints.txt -e '.[docs]'
	$(PYTHON) -m sphinx -q -W --keep-going -n docs docs/_build/html

fuzz: .venv  ## fuzz what reads text and files: FUZZ_SECONDS for each of six entry points (an hour in all)
	.venv/bin/pip install -q -c constraints.txt -e '.[fuzz]'
	$(PYTHON) -m tests.fuzz --seconds $(FUZZ_SECONDS)

nets: .venv  ## judge NETS random networks, as people write them, against autograd (5,000 take two hours)
	mkdir -p runs
	OMP_NUM_THREADS=1 $(PYTHON) -m tests.nets --count $(NETS) --jobs 2 --verdicts runs/nets.jsonl

gpu: .venv  ## run the tests that need a CUDA device, write docs/gpu.md (under ten minutes)
	$(PYTHON) -m pytest -m gpu -q
	$(PYTHON) -m experiments.gpu
