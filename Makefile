# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where pip does not take the CPU build of PyTorch by itself, name an index with CPU wheels: make demo TORCH_INDEX=URL
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check clean

demo: $(VENV)/installed
	$(BIN)/bytecap run --out runs/demo

test: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(PYTEST)

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
