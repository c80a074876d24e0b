# Verbs of the project. `make help` lists them.

VENV ?= .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
TESTS ?= tests
MINDSPORE_TESTS ?= tests/data/shards tests/data/conversion/test_adopt.py tests/stages/test_convert.py \
	tests/stages/test_convert_mindrecord.py tests/store/test_s3_mindrecord.py
IMAGES ?= tools torch-cpu mindspore-cpu launcher

.DEFAULT_GOAL := help
.PHONY: help setup setup-swift setup-mindspore demo test test-mindspore images test-docker benchmarks lint format clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(STAMP) ## make the environment in .venv: 2 minutes and 6 GB, once

$(STAMP): pyproject.toml constraints/torch.txt
	@echo "setting up $(VENV): about 2 minutes and 6 GB of disk, once; the log is $(VENV)/setup.log"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
		|| { echo "$(PYTHON) is missing or not Python 3.10, 3.11 or 3.12: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off \
		--constraint constraints/torch.txt --editable '.[torch,pipelines,dev]' > $(VENV)/setup.log 2>&1 \
		|| { tail -n 20 $(VENV)/setup.log; exit 75; }
	@touch $@

setup-swift: .venv-swift/.ready ## add OpenStack Swift and rclone, S3 servers for the tests of the store

.venv-swift/.ready: constraints/swift.txt
	@$(PYTHON) -m venv .venv-swift
	@.venv-swift/bin/pip install --disable-pip-version-check -q -r constraints/swift.txt
	@touch $@

setup-mindspore: .venv-mindspore/.ready ## make an environment with MindSpore in .venv-mindspore: 3 GB

.venv-mindspore/.ready: pyproject.toml constraints/mindspore.txt
	@echo "setting up .venv-mindspore: about 2 minutes and 3 GB; the log is .venv-mindspore/setup.log"
	@$(PYTHON) -m venv .venv-mindspore
	@.venv-mindspore/bin/pip install --disable-pip-version-check --progress-bar off \
		--constraint constraints/mindspore.txt --editable '.[mindspore]' pytest \
		> .venv-mindspore/setup.log 2>&1 || { tail -n 20 .venv-mindspore/setup.log; exit 75; }
	@touch $@

demo: setup ## train, evaluate and benchmark a detector on the bundled photographs: 4 minutes
	@$(BIN)/python -m pipelines run training --recipe demo --dataset examples/bccd

test: setup lint ## run everything that needs no accelerator
	@$(BIN)/python -m pytest -n 2 --dist worksteal -q $(TESTS)

test-mindspore: setup-mindspore ## run what needs MindSpore, and what writes shards beside it
	@SSD_REQUIRE="mindspore,$$SSD_REQUIRE" .venv-mindspore/bin/python -m pytest -q $(MINDSPORE_TESTS)

images: ## build the images that need no accelerator; IMAGES="tools torch-cuda" builds others
	@PYTHON=$(PYTHON) images/build.sh $(IMAGES)

test-docker: setup ## run what needs docker and the images of `make images`
	@SSD_REQUIRE=docker $(BIN)/python -m pytest -q tests/docker

benchmarks: setup ## measure against peers, side by side: 10 minutes; SIZE="--images 200 --rounds 3" is a quick look
	@$(BIN)/python -m benchmarks $(SIZE)

lint: setup ## style, types and layers
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup ## rewrite the code in the house style
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

clean: ## remove what was built here; out/ stays
	@rm -rf $(VENV) .venv-swift .venv-mindspore build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
