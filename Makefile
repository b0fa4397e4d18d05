# make run     installs into .venv when needed, then searches on digits: a frontier, baselines and a report
# make test    the tests, in parallel over the cores
# make lint    ruff and mypy
# make clean   removes .venv and caches; runs/ stays
#
# ARGS goes to the program that is called (make run ARGS="--data FOLDER"), PYTHON makes .venv (make run PYTHON=python3.12).

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test lint clean

run: $(VENV)/.installed
	$(BIN)/archipel run $(ARGS)

# One torch thread a process: the processes already share out the cores.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# torch goes in first and pinned, or pip would take a newer one with gigabytes of CUDA that a CPU has no use for.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Archipel needs Python 3.11 or newer; name one: make run PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing Archipel into $(VENV) (minutes the first time)"
	@$(INSTALL) torch
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what tests and lint need"
	@$(INSTALL) --editable '.[dev]'
	@touch $@
