# Everything runs in .venv, which the first command sets up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HUB := .venv-hub
BACKENDS := .venv-backends
# How many processes the tests are divided among; each takes a core and a gigabyte.
WORKERS ?= 3
# LOCKED=1 installs what requirements/ci.lock pins, checked by hashes, instead of the newest that fits.
LOCKED ?=
# Training small convolutional nets is faster without oneDNN; logs stay quiet.
export TF_ENABLE_ONEDNN_OPTS ?= 0
export TF_CPP_MIN_LOG_LEVEL ?= 3

PIP := -m pip install --quiet --disable-pip-version-check
# An installation of one kind undoes the mark of the other: the last one decides what is there.
ifeq ($(LOCKED),1)
DEMO := $(VENV)/.locked
DEV := $(VENV)/.locked
DOCS := $(VENV)/.locked
else
DEMO := $(VENV)/.demo
DEV := $(VENV)/.dev
DOCS := $(VENV)/.docs
endif

.PHONY: help demo test long laws quick hub backends lint format bench docs examples clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "secateur needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@rm -f $(VENV)/.locked
	$(BIN)/python $(PIP) -e '.[tensorflow,demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@rm -f $(VENV)/.locked
	$(BIN)/python $(PIP) -e '.[tensorflow,openvino,litert,ray,search,databases,demo,examples,dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.locked: pyproject.toml requirements/ci.lock | $(BIN)/python
	@$(BIN)/python -c 'import platform as p, sys; \
	  sys.exit((p.system(), p.machine(), sys.version_info[:2]) != ("Linux", "x86_64", (3, 11)))' || \
	  { echo "requirements/ci.lock is for Python 3.11 on Linux x86_64; leave LOCKED out"; exit 2; }
	@rm -f $(VENV)/.demo $(VENV)/.dev $(VENV)/.docs
	$(BIN)/python $(PIP) --require-hashes --no-deps -r requirements/ci.lock
	$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: $(DEMO)  ## run the main job on real data and print where the report is
	$(BIN)/secateur demo

test: $(DEV)  ## run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not long"

long: $(DEV)  ## run the tests that take minutes: Ray clusters, kills, every page of the documentation
	$(BIN)/python -m pytest -m long

laws: $(DEV)  ## try every step on every wiring; takes long
	WHOLE_ZOO=1 $(BIN)/python -m pytest tests/laws tests/unit/steps

quick: $(DEV)  ## run the tests that take seconds
	$(BIN)/python -m pytest -m "not slow and not long and not browser"

$(HUB)/.ready: pyproject.toml
	$(PYTHON) -m venv $(HUB)
	$(HUB)/bin/python $(PIP) -e '.[hub]'
	@touch $@

hub: $(HUB)/.ready  ## run the tests on backbones of KerasHub, in an environment of their own
	$(HUB)/bin/python -m pytest tests/unit/graph/test_hub.py

$(BACKENDS)/.ready: pyproject.toml
	$(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python $(PIP) torch==2.13.0
	$(BACKENDS)/bin/python $(PIP) -e '.[jax,torch,distributed,search,litert,dev]'
	@touch $@

backends: $(BACKENDS)/.ready  ## run the tests of graph, planning and steps on JAX and PyTorch; takes long
	@failed=0; for backend in jax torch; do echo "KERAS_BACKEND=$$backend"; \
	  KERAS_BACKEND=$$backend $(BACKENDS)/bin/python -m pytest -q -n $(WORKERS) --dist loadfile \
	    tests/unit/graph tests/unit/planning tests/unit/steps tests/e2e/test_distributed.py \
	    --ignore tests/unit/graph/test_hub.py || failed=1; \
	done; exit $$failed

lint: $(DEV)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(DEV)  ## put the code into its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)  ## measure; each script prints one table
	$(BIN)/python benchmarks/healing.py
	$(BIN)/python benchmarks/scoring.py --quick

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	@rm -f $(VENV)/.locked
	$(BIN)/python $(PIP) -e '.[docs]'
	@touch $@

docs: $(DOCS)  ## build the site of the documentation into site/; a warning fails it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

examples: $(DEV)  ## run every example of the documentation
	$(BIN)/python -m pytest tests/house

clean:  ## remove what the commands above made
	rm -rf $(VENV) $(HUB) $(BACKENDS) demo site .pytest_cache .ruff_cache .hypothesis
