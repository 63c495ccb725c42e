# `make` alone lists the commands. Needs only make and Python 3.11 or later; everything else goes into .venv.

# Override on the command line: make demo DEMO=runs/other PIP_ARGS=--quiet
PYTHON     ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
                $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP_ARGS   ?= --quiet
DEMO       ?= runs/demo
DEMO_DATA  ?= digits
DEMO_TRAIN ?= --model conv --batch-size 64 --steps 2000 --learning-rate 0.005

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
PAGE   = $(DEMO)/report.html

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint format types layers docs pins clean always

help: ## this list
	@echo "lucid: make TARGET"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-9s %s\n", $$1, $$2 }'

# ---- the environment -------------------------------------------------------------------------------------------------

# The stamp is written last and holds this folder's path: an environment that was interrupted, moved, or whose
# Python has gone is built again from nothing; a new pin or dependency only updates it.
ifneq ($(shell test -x $(BIN)/python && cat $(READY) 2>/dev/null),$(CURDIR))
$(READY): always
endif

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "lucid needs Python 3.11 or later; found: $$("$(or $(PYTHON),python3)" --version 2>&1 || echo none)." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$$("$(PYTHON)" --version) has no venv module. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@if test "$$(cat $@ 2>/dev/null)" = "$(CURDIR)" && test -x $(BIN)/python; then \
	  echo "setup: pyproject.toml or constraints.txt changed, updating $(VENV)"; rm -f $@; \
	else \
	  echo "setup: creating $(VENV) and installing the pinned packages (1 to 5 minutes, once)"; \
	  "$(PYTHON)" -m venv --clear $(VENV); fi
	@$(BIN)/python -m pip install $(PIP_ARGS) --constraint constraints.txt hatchling editables
	@$(BIN)/python -m pip install $(PIP_ARGS) --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@printf '%s\n' "$(CURDIR)" > $@

setup: $(READY) ## create or update .venv with the pinned packages (the commands below do it when needed)
	@echo "setup: $(VENV) is ready"

# ---- what a user runs ------------------------------------------------------------------------------------------------

demo: $(READY) ## train on the built-in digits, evaluate, and write a page to look at
	@if test -e $(DEMO)/run.json; then $(BIN)/lucid train --resume $(DEMO); \
	else $(BIN)/lucid train $(DEMO_DATA) $(DEMO_TRAIN) --out $(DEMO) --no-report; fi
	@$(BIN)/lucid evaluate $(DEMO)
	@echo "demo: open $(abspath $(PAGE))"

# ---- what a developer runs -------------------------------------------------------------------------------------------

test: $(READY) ## the whole suite: tests, docstring examples, the pages' snippets, examples/
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## formatting and lint rules (make format repairs what it can)
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff .; exit 1; }
	@$(BIN)/ruff check .

format: $(READY) ## format the code and repair what lint can repair
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format .

types: $(READY) ## static types, strict on src/lucid
	@$(BIN)/basedpyright

layers: $(READY) ## which room may import which
	@$(BIN)/lint-imports --no-cache

docs: $(READY) ## the site with its API reference, in site/; any broken link or reference fails
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet --builder html docs site
	@echo "docs: open $(CURDIR)/site/index.html"

# ---- upkeep ----------------------------------------------------------------------------------------------------------

# Only torch stays where it is: another torch is a decision, not an upgrade. Change its line by hand first.
pins: ## resolve every other package anew and write constraints.txt
	@rm -rf build/pins && mkdir -p build/pins && grep '^torch==' constraints.txt > build/pins/torch.txt
	@"$(PYTHON)" -m venv build/pins/venv
	@build/pins/venv/bin/python -m pip install $(PIP_ARGS) --constraint build/pins/torch.txt --editable '.[dev]'
	@{ sed -n '/^#/p' constraints.txt; build/pins/venv/bin/python -m pip freeze --exclude-editable \
	  | sed 's/+cpu$$//' | LC_ALL=C sort -f; } > build/pins/constraints.txt
	@mv build/pins/constraints.txt constraints.txt && rm -rf build/pins && git --no-pager diff --stat constraints.txt

clean: ## remove the environment, caches and built pages; runs/ is yours and stays
	rm -rf $(VENV) site build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
