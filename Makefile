# `make claims` and `make test` work from a bare clone; everything else is for development.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLAIMS ?=
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help claims test setup fetch lint types format benchmarks clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo
	@echo '  CLAIMS="…" is passed on to pytest, as in: make claims CLAIMS="--claims-model gemma-3-270m"'
	@echo '  TESTS="…" likewise: make test TESTS="-n 0 -x" runs one test at a time and stops at the first failure'

claims: fetch  ## Set up, fetch the default model and text, judge every claim
	@$(BIN)/pytest claims/ $(CLAIMS)

test: fetch  ## Set up, then run the project's own tests, two files at a time
	@$(BIN)/pytest tests/ -n 2 --dist loadfile $(TESTS)

setup: $(READY)  ## Create .venv with pinned dependencies

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stillwired needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Choose another with: make PYTHON=python3.11")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo 'Could not create $(VENV). On Debian: apt install python3-venv' >&2; exit 1; }
	@echo 'Installing pinned dependencies into $(VENV) (once, some minutes)'
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

fetch: $(READY)
	@$(BIN)/stillwired fetch

lint: $(READY)  ## Check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)  ## Check types
	@$(BIN)/mypy

format: $(READY)  ## Mend style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

benchmarks: fetch  ## Time the plain way and ours, side by side
	@$(BIN)/pytest benchmarks/ --benchmark-only

clean:  ## Remove .venv and what tools left; the cache stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
