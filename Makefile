# make repro            the default study: images -> networks -> verdicts, figures, paper
# make repro STUDY=name studies/name
# make test             every test
# make readme           write the verdicts, accuracies and minutes of the results into README.md, and the paper of all studies
# make verify           hash outputs and the DVC cache against dvc.lock; QUARANTINE=1 moves what is corrupt away
# make tidy             list what no stage owns; APPLY=1 deletes it
.DEFAULT_GOAL := help
PYTHON ?= python3
STUDY ?=
FOLDER := $(if $(STUDY),studies/$(STUDY),.)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONDONTWRITEBYTECODE  # twenty processes a study import PyTorch; bytecode halves the wait
# A folder of data sets beside the checkout saves downloads; each file is checked as if it had been downloaded.
export FOURLENSES_MIRROR ?= $(wildcard $(abspath ../shared/datasets))

help:  ## show this list
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(BIN)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(f"Python {sys.version.split()[0]} found; 3.11 or newer is needed; make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

setup: $(BIN)/.installed  ## the virtual environment

repro: setup
	@test -e $(FOLDER)/dvc.yaml || { echo "error: no study $(STUDY); expected one of: $(notdir $(wildcard studies/*)); make repro STUDY=name" >&2; exit 2; }
	cd $(FOLDER) && python -m stages.check
	dvc repro $(FOLDER)/dvc.yaml
	python -m stages.readme

test: setup
	ruff check .
	python -m pytest

readme: setup
	python -m stages.readme
	python -m stages.studies

verify: setup
	python -m stages.verify $(if $(QUARANTINE),--quarantine)

tidy: setup
	python -m stages.tidy $(if $(APPLY),--apply)

lock: setup  ## exact versions and hashes of everything, for Python 3.11 and newer
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra test --no-header --no-annotate pyproject.toml --output-file requirements.lock --upgrade

.PHONY: help setup repro test readme verify tidy lock
