# Every target makes the virtual environment when it is absent. VENV=DIR moves it (and all caches) elsewhere, for instance
# when this checkout is read-only; OUT=DIR is where the demo goes; PYTHON=... chooses the interpreter (3.11 or later).
PYTHON ?= python3
VENV ?= .venv
OUT ?= demo-out
BIN := $(VENV)/bin
CACHE := $(VENV)/cache
export PYTHONDONTWRITEBYTECODE := 1
export RUFF_CACHE_DIR := $(abspath $(CACHE))/ruff
export MYPY_CACHE_DIR := $(abspath $(CACHE))/mypy
export HYPOTHESIS_STORAGE_DIRECTORY := $(abspath $(CACHE))/hypothesis
PYTEST := $(BIN)/python -m pytest -o cache_dir=$(abspath $(CACHE))/pytest

.PHONY: help demo test test-all lint format bench clean
help:
	@echo "make demo      build a dataset, compare predictors, make the board: everything in $(OUT)/"
	@echo "make test      the tests (minutes); make test-all adds the slow ones"
	@echo "make lint      ruff and mypy; make format rewrites the layout"
	@echo "make bench     timings against other libraries (installs them)"

demo: $(VENV)/.installed
	$(BIN)/srgaze360 demo --out $(OUT)

test: $(VENV)/.installed-dev
	$(PYTEST) -n auto --dist worksteal

test-all: $(VENV)/.installed-dev
	$(PYTEST) -n auto --dist worksteal -m ""

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/reproject.py
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/score.py
	$(BIN)/python benchmarks/lint.py

clean:
	rm -rf $(VENV) $(OUT)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed; found $$($(PYTHON) --version). Say PYTHON=python3.x make ..."; exit 3; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@
