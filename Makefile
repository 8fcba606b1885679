# Thin verbs over the `mnist` command. The first one that needs it makes the environment in .venv.

PYTHON ?= python3
# GPU=1 adds NVIDIA's CUDA libraries (4.4 GB on disk), for training on a GPU of this machine.
comma := ,
EXTRAS := train,cli,dev$(if $(GPU),$(comma)gpu)
VENV := .venv
# Written last: its presence says that the environment is complete, its content which extras it has.
READY := $(VENV)/ready$(if $(GPU),-gpu)

.DEFAULT_GOAL := help
.PHONY: help install run test lint format bench notebook compile images push lock clean

help:  ## list these targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY)  ## make .venv with everything in it, from the lock (GPU=1: with CUDA)

run: $(READY)  ## train on MNIST through the whole pipeline, and draw the report
	@$(VENV)/bin/mnist run

test: $(READY)  ## run the tests
	@$(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4

lint: $(READY)  ## check style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@if [ -x $(VENV)/bin/hadolint ]; then set -x; $(VENV)/bin/hadolint containers/Dockerfile; fi
	@if command -v shellcheck >/dev/null; then set -x; shellcheck containers/*.sh; fi

format: $(READY)  ## bring the code into its format
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(READY)  ## measure: memory of ingest, accuracy and time of three seeds
	$(VENV)/bin/python tests/benchmarks/ingest_memory.py
	$(VENV)/bin/python tests/benchmarks/seeds.py

notebook: $(READY)  ## run the notebook from top to bottom on the sample
	$(VENV)/bin/python -m pytest tests/project/test_notebook.py

compile: $(READY)  ## compile the pipeline to one YAML file
	@$(VENV)/bin/mnist compile

images:  ## build the images of the steps (ENGINE=podman; GPU=1: also the trainer with CUDA)
	@containers/build.sh

push:  ## push the images of this code and write images.lock: make push REGISTRY=host/path
	@test -n "$(REGISTRY)" || { echo "Where to? make push REGISTRY=host/path"; exit 2; }
	@$(PYTHON) -m pipelines.container_images require-commit
	@containers/build.sh
	@containers/push.sh "$(REGISTRY)"

lock: $(READY)  ## renew requirements.txt from pyproject.toml
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-header --no-emit-index-url --no-emit-find-links pyproject.toml --output-file requirements.txt

clean:  ## remove .venv, caches and compiled files; runs and data stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis mnist-training-*.yaml
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, but $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make install PYTHON=python3.12"; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python's venv module is missing. Add it, then repeat: sudo apt-get update && sudo apt-get install -y python3-venv"; \
		exit 1; }
	@echo "Making the environment in $(VENV) (once; about 850 MB to download)"
	$(PYTHON) -m venv --clear $(VENV)
	@awk '/^uv==/ {found=1} found {print} found && !/\\$$/ {exit}' requirements.txt > $(VENV)/uv.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.txt
	$(VENV)/bin/uv pip install --python $(VENV) --compile-bytecode --constraints requirements.txt \
		--build-constraints requirements.txt --editable ".[$(EXTRAS)]"
	@touch $@
