# The two commands of the README, and what CI calls. Everything is set up in .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test setup lint types benchmarks clean

demo: $(VENV)/ready  ## set up, then the main job on the built-in phantom archive
	$(BIN)/enrich demo

test: $(VENV)/ready-dev  ## set up, then the tests
	$(BIN)/python -m pytest

setup: $(VENV)/ready

# torch first and pinned: an open range would bring gigabytes of CUDA to a machine without a GPU.
$(VENV)/ready: requirements.lock pyproject.toml
	@echo "setting up $(VENV) (about two minutes) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch==$$(sed -n 's/^torch==//p' requirements.lock)"
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.lock
	$(BIN)/python -m pip install --quiet -r requirements-dev.lock
	@touch $@

lint: $(VENV)/ready-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/ready-dev
	$(BIN)/mypy

benchmarks: $(VENV)/ready-dev  ## writes BENCHMARKS.md
	$(BIN)/python -m enrich_assets_tests.benchmarks

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache .hypothesis
