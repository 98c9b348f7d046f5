# Everything here needs python3 >= 3.11 and make; the rest is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help demo test test-all oracles integrations bench docs check format clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("steadystep needs python3 >= 3.11, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --constraint constraints.txt --group dev --editable '.[lab]'
	@touch $@

demo: .venv/installed  ## the paper's comparison on real handwritten digits, under two minutes; OPEN=1 opens its page
	$(BIN)/steadystep reproduce --task digits-mlp --out studies/digits-mlp $(if $(OPEN),--open)

test: .venv/installed  ## the fast tests
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: .venv/installed  ## every test, the slow ones too
	$(BIN)/python -m pytest -n 2

.venv-oracles/installed: pyproject.toml constraints.txt tests/oracles/requirements.txt
	$(PYTHON) -m venv .venv-oracles
	.venv-oracles/bin/pip install --quiet --constraint constraints.txt --requirement tests/oracles/requirements.txt --editable '.[lab]'
	@touch $@

oracles: .venv-oracles/installed  ## the optimizers against optax, Keras and pytorch-optimizer, in an environment of their own
	.venv-oracles/bin/python -m pytest tests/oracles

.venv-trainers-oldest/installed: pyproject.toml constraints.txt tests/integrations/oldest.txt
	$(PYTHON) -m venv .venv-trainers-oldest
	.venv-trainers-oldest/bin/pip install --quiet --constraint constraints.txt --requirement tests/integrations/oldest.txt --editable .
	@touch $@

.venv-trainers-newest/installed: pyproject.toml constraints.txt tests/integrations/newest.txt
	$(PYTHON) -m venv .venv-trainers-newest
	.venv-trainers-newest/bin/pip install --quiet --constraint constraints.txt --requirement tests/integrations/newest.txt --editable '.[lab,track]'
	@touch $@

integrations: .venv-trainers-oldest/installed .venv-trainers-newest/installed  ## the adapters in the real trainers, oldest and newest versions, and the trackers; FAST=1 leaves out examples and ranks
	.venv-trainers-oldest/bin/python -m pytest tests/integrations $(if $(FAST),-m "not slow")
	.venv-trainers-newest/bin/python -m pytest tests/integrations $(if $(FAST),-m "not slow")

bench: .venv/installed .venv-oracles/installed  ## the speed of clip and step, against torch, pytorch-optimizer, optax and the memory
	.venv-oracles/bin/python -m benchmarks
	$(BIN)/python -m benchmarks.compact
	.venv-oracles/bin/python -m benchmarks.low_bit
	$(BIN)/python -m benchmarks.denormals && $(BIN)/python docs/write_differences.py
	$(BIN)/python -m benchmarks.replicas
	$(BIN)/python -m benchmarks.plot

.venv/docs: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --group docs
	@touch $@

.cache/theory/theory.json: .venv/installed $(shell find src -name '*.py')
	$(BIN)/steadystep theory --figures .cache/theory

docs: .venv/docs .cache/theory/theory.json  ## the documentation site, into site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: .venv/docs  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: .venv/installed  ## rewrite the files as ruff wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was built and measured here
	rm -rf .venv .venv-oracles .venv-trainers-* studies site .cache dist .pytest_cache .ruff_cache .hypothesis
