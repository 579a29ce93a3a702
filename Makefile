# Every task of the project. `make` alone lists them.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
export FLINKREC_HOME ?= $(HOME)/.flinkrec
# Images set it often. Uv compiles nothing, so each process would compile all that it imports, every time: seconds for a command.
unexport PYTHONDONTWRITEBYTECODE

# The lock is hashed into the stamp's name: a changed lock means another stamp, a touched one does not.
PACKAGES := $(VENV)/installed-$(shell cat requirements.lock pyproject.toml 2>/dev/null | cksum | tr ' ' '-')

.PHONY: help setup demo test check ci lock clean

help: ## List the tasks
	@echo "flinkrec: recommendations that react to what a user did a moment ago"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16
	@echo
	@echo "After \`make setup\`, $(BIN)/flinkrec --help lists the commands."

setup: $(PACKAGES) ## Install everything into .venv and FLINKREC_HOME (safe to repeat)
	@$(BIN)/flinkrec setup

demo: setup ## Start the stack and show the recommender at work (ARGS="..." are passed on)
	@$(BIN)/flinkrec demo $(ARGS)

# The tests of the real stack run in a row; the other files beside them, of one thread each, in what they leave of the cores.
test: setup ## Run the whole test suite, on real Kafka and Flink processes (ARGS="..." are passed on)
	@OMP_NUM_THREADS=1 $(BIN)/pytest $(or $(ARGS),--numprocesses auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder --durations 20)

check: $(PACKAGES) ## Lint and type-check
	@$(BIN)/ruff check .
	@$(BIN)/mypy

ci: check test ## What a change must pass

lock: $(VENV)/bin/uv ## Resolve the dependencies anew into requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra evaluation --extra serving --extra text --python-version 3.11 --upgrade --quiet \
		--no-header --no-emit-index-url --no-emit-find-links --output-file requirements.lock
	@echo "requirements.lock is up to date."

clean: ## Remove .venv and caches; FLINKREC_HOME stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/uv:
	@python=$$(python3 cli/stack/preflight.py . "$(FLINKREC_HOME)") && \
		echo "Making the virtual environment $(VENV) of $$python ..." && "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(PACKAGES): $(VENV)/bin/uv
	@echo "Installing $$(grep -c == requirements.lock) Python packages (PyTorch is large: some minutes the first time) ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/installed-*
	@touch $@
	@echo "Python packages are installed."
