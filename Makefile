# Two commands set everything up: `make demo` and `make test`. CONTRIBUTING.md explains the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where pip does not take the CPU build of PyTorch by itself, name an index with CPU wheels: make demo TORCH_INDEX=URL
TORCH_INDEX ?=
# Options of pytest, such as PYTEST="-x tests/coding"
PYTEST ?=
# Processes that share the tests
WORKERS ?= auto
# For `make fuzz`
MINUTES ?= 10
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-fast lint coverage fuzz lock locked clean

demo: $(VENV)/installed
	$(BIN)/bytecap run --out runs/demo

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

test-fast: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(PYTEST)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(VENV)/installed-dev
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered $(PYTEST)

fuzz: $(VENV)/installed-dev
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

lock: $(VENV)/installed-dev
	grep '^#' requirements-dev.lock > $(VENV)/lock
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check | sed 's/+cpu$$//' >> $(VENV)/lock
	mv $(VENV)/lock requirements-dev.lock

locked: $(VENV)/torch
	$(PIP) -r requirements-dev.lock
	$(PIP) --no-deps -e .
	@touch $(VENV)/installed $(VENV)/installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/torch: $(VENV)/bin/python
ifneq ($(TORCH_INDEX),)
	$(PIP) "torch>=2.11,<2.14" --index-url $(TORCH_INDEX)
endif
	@touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml
	$(PIP) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/torch pyproject.toml
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) runs/demo
