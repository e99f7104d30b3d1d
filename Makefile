# Two commands for a new machine: `make demo` and `make test`. Everything lives in .venv; nothing else is touched.

PYTHON ?= python3
BIN := .venv/bin
DEMO ?= demo
CLOUDS := tests/aws tests/cluster tests/slurm

.PHONY: demo test test-clouds test-days test-cluster check bench clean

demo: .venv/installed ## make a small synthetic day and process it
	$(BIN)/raypipe simulate $(DEMO) --channels 16 --seconds 30 --trials 6 --overwrite
	$(BIN)/raypipe plan $(DEMO)/picasso/20181105
	$(BIN)/raypipe run $(DEMO)/picasso/20181105
	$(BIN)/raypipe status $(DEMO)/picasso/20181105
	$(BIN)/raypipe run $(DEMO)/picasso/20181105
	@echo "look at $(DEMO)/picasso/20181105: session01/maze.png, spectra_lfp.png, mountains/channel001/units.png"

test: test-clouds test-days ## run the tests

test-clouds: .venv/installed
	$(BIN)/python -m pytest -m "not slurm" $(CLOUDS)

test-days: .venv/installed
	$(BIN)/python -m pytest -m "not slurm" $(CLOUDS:%=--ignore=%)

test-cluster: .venv/installed ## run the tests on a real Slurm, whose nodes are namespaces of this machine
	$(BIN)/python -m pytest -m slurm

check: .venv/installed ## lint, format, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed ## measure kernels, a whole session and memory; writes bench/results
	$(BIN)/python -m bench

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@
