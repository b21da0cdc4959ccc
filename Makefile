# One environment for every target, in .venv, built when its stamp is older than the files that describe it.
# Another interpreter: make PYTHON=python3.12 env. Tests run on all cores; otherwise: make test PYTEST_ARGS="-k energy".
PYTHON ?= python3
PYTEST_ARGS ?= -n auto
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# One thread: small torch loops are slower with more, and only one thread repeats bit for bit.
export OMP_NUM_THREADS := 1
export MPLBACKEND := Agg

.PHONY: env demo test lint types check clean

env: $(STAMP)
	@:

# setuptools first and no build isolation: torch needs setuptools at run time, and no second copy is fetched.
$(STAMP): constraints.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phdyn needs Python 3.11 or later: make PYTHON=...")'
	@echo 'installing into $(VENV) (once; some minutes)' >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -c constraints.txt setuptools
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[experiments,test]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/phdyn demo

test: $(STAMP)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check

types: $(STAMP)
	@$(BIN)/mypy

check: lint types test

clean:
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
