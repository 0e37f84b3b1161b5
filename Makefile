# Two commands do everything on a fresh machine: `make demo` and `make test`.
# PYTHON picks the interpreter (3.11 or newer); .venv is made once and refreshed when the requirements change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CHECKPOINT := fixtures/checkpoints/mdlm-tiny.pt
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# One thread a worker: on a small machine threads of several workers only get into each other's way.
export OMP_NUM_THREADS ?= 1
# Tests start many processes: each would compile everything again where an image forbids keeping bytecode.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick lint types imports tests fixtures bench mutants clean

demo: $(VENV)/.demo
	$(BIN)/bpb-eval $(CHECKPOINT) --method discrete
	$(BIN)/bpb-eval $(CHECKPOINT) --method discrete --compare

test: lint types imports tests

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

imports: $(VENV)/.test
	$(BIN)/lint-imports

tests: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

quick: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal -q tests/unit

mutants: $(VENV)/.mutation
	$(BIN)/python -m tests.benchmarks.mutants

fixtures: $(VENV)/.test
	$(BIN)/python -m fixtures.build

$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.mutation: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[test,mutation]'
	@touch $@ $(VENV)/.demo $(VENV)/.test

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
