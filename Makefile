# Every way to set up, run and check the project.  `make` alone lists them.
#
# PYTHON=python3.12      the interpreter for .venv; otherwise the first one that is new enough
# PYTEST_ARGS='-k stdio' handed to pytest by `make test`
# BENCH_ARGS='...'       handed to the benchmark by `make bench`
# FUZZ_SECONDS=600       for how long `make fuzz` looks for new examples; FUZZ_ARGS='--seed a' makes one run again
# SOAK_CALLS=1000000     how many calls `make soak` makes; SOAK_ARGS='...' is handed to it
# DATA=tools.jsonl       the labelled tools that `make risk` measures with; RISK_ARGS='...' is handed to it
# MCPGUARD_SERVERS=dir   where the real servers for the tests live, otherwise .cache/servers

PYTHON ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_SECONDS ?= 60
FUZZ_ARGS ?=
SOAK_CALLS ?= 1000000
SOAK_ARGS ?=
DATA ?=
RISK_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt
LINTED := src tests scripts/install-servers scripts/picture hatch_build.py $(wildcard benchmarks)

# The pure rooms are covered by their own tests, not by what passes through them on the way.
# `make test` runs those tests once, with the checks.
ROOMS := policy protocol inventory

# Stamps: each names what is installed in .venv, and is older than a change that makes it stale.
CREATED := $(VENV)/.created
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

.DEFAULT_GOAL := help
.PHONY: help demo test check lint cover bench fuzz soak risk picture servers clean $(addprefix cover-,$(ROOMS))
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## see a policy at work, with a server that comes along
	@$(BIN)/mcpguard demo

test: $(DEV) ## run everything: the checks, then every test
	@$(MAKE) --no-print-directory $(SIDE_BY_SIDE) check servers
	$(BIN)/python -m pytest --numprocesses=3 --dist=loadfile $(addprefix --ignore=tests/,$(ROOMS)) $(PYTEST_ARGS)

check: lint cover ## run what judges the code without starting a server

# For `make test`: two at a time, each with its output in one piece where make can do that.
SIDE_BY_SIDE := --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

lint: $(DEV)
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy
	$(BIN)/mypy scripts/install-servers
	$(BIN)/mypy scripts/picture
	$(BIN)/mypy hatch_build.py
	$(BIN)/lint-imports

cover: $(addprefix cover-,$(ROOMS))

cover-policy: LEAST := 100
cover-protocol cover-inventory: LEAST := 95

$(addprefix cover-,$(ROOMS)): cover-%: $(DEV)
	$(BIN)/coverage run --branch --data-file=.coverage.$* --source=src/mcpguard/$* -m pytest --quiet tests/$*
	$(BIN)/coverage report --data-file=.coverage.$* --show-missing --skip-covered --fail-under=$(LEAST)

bench: $(DEV) ## measure what the guard costs on this machine
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

fuzz: $(DEV) ## look for input that breaks something, with new examples each time
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

soak: $(DEV) ## make a million calls through one guard: nothing lost, nothing twice, memory flat
	$(BIN)/python benchmarks/soak.py --calls $(SOAK_CALLS) $(SOAK_ARGS)

risk: $(DEV) ## measure how well tools are told apart: make risk DATA=labelled-tools.jsonl
	@test -n '$(DATA)' || { echo 'make: name a file of labelled tools: make risk DATA=labelled-tools.jsonl (docs/risk.md)' >&2; exit 2; }
	$(BIN)/python benchmarks/risk.py '$(DATA)' $(RISK_ARGS)

picture: $(DEV) ## draw the terminal on the first page of README.md anew, from runs that it makes
	$(BIN)/python scripts/picture

servers: $(DEV)
	$(BIN)/python scripts/install-servers

clean: ## remove .venv and whatever tools left behind, except the servers in .cache
	rm -rf $(VENV) dist build htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$$python -m venv $(VENV)" && "$$python" -m venv $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	echo "make: mcpguard needs Python 3.11 or newer and found none in: $(or $(PYTHON),PATH); name one with PYTHON=..." >&2; \
	exit 1

$(RUNTIME): $(CREATED) pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

$(DEV): $(CREATED) pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch $@ $(RUNTIME)
