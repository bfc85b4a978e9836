# The two commands of the README, and what CI calls. Everything is set up in .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip compiles on one core; afterwards all of them do. What cannot be compiled (templates, broken files of tests) is nobody's fault.
PIP := $(BIN)/python -m pip install --quiet --quiet --no-compile
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test setup lint types audit sbom docs explore attack benchmarks clean

demo: $(VENV)/ready  ## set up, then the main job on the built-in phantom archive
	$(BIN)/enrich demo

test: $(VENV)/ready-dev  ## set up, then the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile  # two files at a time; `pytest PATH` runs one after the other

setup: $(VENV)/ready

# torch first and pinned: an open range would bring gigabytes of CUDA to a machine without a GPU.
$(VENV)/ready: requirements.lock pyproject.toml
	@echo "[1/4] making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "[2/4] torch (half a minute from disk; longer where it is downloaded)"
	@$(PIP) "torch==$$(sed -n 's/^torch==//p' requirements.lock)"
	@echo "[3/4] the $$(grep -c == requirements.lock) packages of requirements.lock (a minute or two)"
	@$(PIP) -r requirements.lock
	@echo "[4/4] enrich itself"
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(COMPILE)
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.lock requirements-label-studio.lock
	@echo "what the tests need beside"
	@$(PIP) -r requirements-dev.lock
	@$(PIP) --no-deps -r requirements-label-studio.lock
	@$(COMPILE)
	@touch $@

lint: $(VENV)/ready-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/ready-dev
	$(BIN)/mypy

AUDIT := .venv-audit
$(AUDIT)/ready: requirements-audit.lock
	@$(PYTHON) -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --quiet -r requirements-audit.lock
	@touch $@

audit: $(AUDIT)/ready  ## our own code (bandit), what it stands on (pip-audit), and whether the bill of materials is of the lock
	$(AUDIT)/bin/bandit --quiet --configfile pyproject.toml --recursive enrich_assets
	$(AUDIT)/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip --progress-spinner off
	$(AUDIT)/bin/cyclonedx-py requirements requirements.lock --output-reproducible --of JSON -o - | diff -q - sbom.cdx.json

sbom: $(AUDIT)/ready  ## writes sbom.cdx.json, the bill of materials (CycloneDX), from the lock
	$(AUDIT)/bin/cyclonedx-py requirements requirements.lock --output-reproducible --of JSON -o sbom.cdx.json

DOCS := .venv-docs
$(DOCS)/ready: requirements-docs.lock
	@$(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --quiet --no-deps -r requirements-docs.lock
	@touch $@

docs: $(DOCS)/ready  ## builds the site of docs/ into build/site; a warning fails it
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet

EXPLORE := .venv-explore
$(EXPLORE)/ready: requirements-explore.lock
	@$(PYTHON) -m venv $(EXPLORE)
	@$(EXPLORE)/bin/python -m pip install --quiet --quiet --no-deps -r requirements-explore.lock
	@touch $@

explore: $(EXPLORE)/ready  ## sets up LightlyStudio, for `enrich explore`

attack: $(VENV)/ready-dev  ## processes killed, full disks, hostile files and more, with everything (hours); writes RELIABILITY.md
	$(PIP) libfaketime==3.0.1
	$(BIN)/python -m enrich_assets_tests.attack --scale full

benchmarks: $(VENV)/ready-dev  ## writes BENCHMARKS.md
	$(BIN)/python -m enrich_assets_tests.benchmarks

clean:
	rm -rf $(VENV) $(AUDIT) $(DOCS) build *.egg-info .mypy_cache .ruff_cache .hypothesis
