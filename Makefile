# Two commands do everything on a fresh machine: `make demo` and `make test`. `make help` lists the others.
# PYTHON picks the interpreter (3.11 or newer); .venv is made once and refreshed when the requirements change.

PYTHON ?= python3
# Versions of what is installed; what each stands for is in pyproject.toml.
CONSTRAINTS ?= constraints.txt
# Set to anything, it makes `tests` count the lines of the product that were run, and print their share.
COVERAGE ?=
# Processes that run tests.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
CHECKPOINT := fixtures/checkpoints/mdlm-tiny.pt
INSTALL := $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS)
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q
# One thread a worker: on a small machine threads of several workers only get into each other's way.
export OMP_NUM_THREADS ?= 1
# glibc keeps what tests free, up to a gigabyte, and asks for 16 MiB at a time: tensors that come and go by the thousand
# would be pages given back and asked for again, a twenty-fifth of the processor's time.
tests thorough quick: export MALLOC_TRIM_THRESHOLD_ ?= 1000000000
tests thorough quick: export MALLOC_TOP_PAD_ ?= 16777216
# Tests start many processes: each would compile everything again where an image forbids keeping bytecode.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint types imports tests thorough quick mutants fixtures vectors tables docs clean

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; \
		do printf 'make %-9s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.demo ## score a small checkpoint by both bounds
	$(BIN)/bpb-eval $(CHECKPOINT) --method discrete
	$(BIN)/bpb-eval $(CHECKPOINT) --method discrete --compare

test: lint types imports tests ## everything below up to tests: what CI runs

lint: $(VENV)/.test ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test ## mypy --strict of bpb_harness and reference
	$(BIN)/mypy

imports: $(VENV)/.test ## import-linter: imports point one way
	$(BIN)/lint-imports

tests: $(VENV)/.test ## the tests of every day, on two workers or WORKERS=4; COVERAGE=1 prints the share of lines that they run
	$(PYTEST) $(if $(COVERAGE),--cov --cov-report=)
	$(if $(COVERAGE),@echo "coverage: $$($(BIN)/coverage report --format=total) % of lines")

thorough: $(VENV)/.test ## every test, with all the cases of what it repeats: before a release
	BPB_THOROUGH=1 $(PYTEST)

quick: $(VENV)/.test ## the tests of single modules but the longest, in half a minute
	$(PYTEST) tests/unit @tests/not_quick.txt

mutants: $(VENV)/.mutation ## faults put into the code one at a time: do the tests notice? (hours)
	$(BIN)/python -m tests.benchmarks.mutants

fixtures: $(VENV)/.test ## train and write fixtures/ again; its claims: python -m fixtures.claims.build
	$(BIN)/python -m fixtures.build

vectors: $(VENV)/.demo ## compute the conformance vectors of vectors/ again
	$(BIN)/python -m vectors.build

tables: $(VENV)/.demo ## write the tables of docs/ again: commands, settings, finding codes, formats, rules
	$(BIN)/python -m docs.commands_table
	$(BIN)/python -m docs.codes_table
	$(BIN)/python -m docs.settings_table
	$(BIN)/python -m docs.formats_table
	$(BIN)/python -m docs.rules_table

docs: $(VENV)/.docs ## build the documentation as a site, into site/: a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html, or $(BIN)/mkdocs serve"

$(VENV)/.demo: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.test: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[test]'
	@touch $@ $(VENV)/.demo

# Not the package itself: its pages are made from the source, and need no torch.
$(VENV)/.docs: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $$($(BIN)/python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
		print(*project['optional-dependencies']['docs'])")
	@touch $@

$(VENV)/.mutation: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[test,mutation]'
	@touch $@ $(VENV)/.demo $(VENV)/.test

clean: ## remove .venv, builds and caches
	rm -rf $(VENV) build dist site *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks \
		.import_linter_cache
