# `make` alone lists the targets. Everything is installed into .venv from requirements.lock.
SHELL := /bin/bash
PYTHON ?= python3
STUDY ?= quickstart
BIN := .venv/bin
TESTS ?= tests
# Bytecode is written whatever the shell says: the processes that tests start would each compile everything again.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup reproduce test test-all check smoke table figures report faults bench base-model clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready ## make .venv with the exact versions of requirements.lock

.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

reproduce: setup ## run a study, freeze its rows and draw its figures (STUDY=quickstart)
	$(BIN)/adapt experiment=$(STUDY)
	$(BIN)/adapt experiment=$(STUDY) model=tfidf "pretrain=[]" adversary=none seed=0
	$(BIN)/adapt experiment=$(STUDY) finetune=linear_probe evaluate=clean "pretrain=[]" adversary=none seed=0
	$(BIN)/adapt figures $(STUDY) --root outputs
	$(BIN)/adapt table $(STUDY)

test: setup ## the tests of every guarantee, in minutes
	$(PYTEST) $(TESTS)

test-all: setup ## those and the slow ones: whole products, each launcher, whole corpora (an hour or two)
	$(PYTEST) -m "full or not full" $(TESTS)

check: setup ## lint and types
	$(BIN)/ruff check adapt analysis tests benchmarks
	$(BIN)/mypy

smoke: setup ## one run of every kind of stage, in seconds
	$(BIN)/adapt experiment=smoke

table: setup ## freeze rows and predictions in experiments/$(STUDY), write its tables
	$(BIN)/adapt table $(STUDY)

figures: setup ## draw experiments/$(STUDY)/figures from results.csv
	$(BIN)/adapt figures $(STUDY)

report: setup ## write experiments/$(STUDY)/report.html from results.csv: one file, opens from disk
	$(BIN)/adapt report $(STUDY)

faults: setup ## kill -9 at 50 random moments of small sweeps, and compare what they end with (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fault_loop.py

bench: setup ## timings, as ratios in one run
	$(BIN)/python -m benchmarks

base-model: setup ## train the embedded base models again (hours on two cores)
	$(BIN)/python -m adapt.assets.train --model tiny
	$(BIN)/python -m adapt.assets.train --model tiny_decoder

clean: ## remove the environment and caches; outputs/ stays
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
