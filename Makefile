# crypto-tracker: `make help` lists the targets. Needed beforehand: Python 3.11 or newer, and make.
# Node for the page is taken from the PATH, else from the package of web/node.lock.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Written once the environment holds what requirements.lock names; setup is skipped while it is newer.
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup web demo test check format nightly bench peers lock schema clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) web ## Make the environment in .venv, with the exact packages of requirements.lock, and the page

web: $(STAMP) ## Build the page of web/ into the package, where it has changed
	@$(BIN)/python web/build.py

# uv installs in seconds. It does not read pip's settings, so the registry that pip was told to use is handed
# to it; where even so only pip knows the way, pip installs the same packages, checked by the same hashes.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of requirements.lock into $(VENV) ..."
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@registry=$$($(BIN)/python -m pip config list | sed -n "s/^[^=]*\.index-url='\(.*\)'$$/\1/p" | head -n 1); \
	if [ -n "$$registry" ]; then UV_DEFAULT_INDEX="$$registry"; export UV_DEFAULT_INDEX; fi; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
	|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
	@echo "Ready: $(BIN)/crypto-tracker --help"

demo: setup ## Watch strategies trade on a synthetic market, on a page of this machine
	@$(BIN)/crypto-tracker demo

test: setup ## Run all tests but the nightly proofs
	$(BIN)/python web/build.py test
ifeq ($(ARGS),)
	@# Browsers take all that a small machine has: what is tested by the clock runs without them.
	@# Both halves run, whatever the first comes to.
	@first= second=; \
	$(BIN)/python -m pytest -n 2 -m "not nightly" --ignore tests/desk || first=failed; \
	$(BIN)/python -m pytest -n 2 -m "not nightly" tests/desk || second=failed; \
	if [ -n "$$first" ]; then echo "Tests of the first half failed: their names stand where it ends, above."; fi; \
	[ -z "$$first$$second" ]
else
	$(BIN)/python -m pytest -n 2 -m "not nightly" $(ARGS)
endif

check: setup ## Judge style, format, types, the order of the rooms, spelling and the tree
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python web/build.py check
	$(BIN)/python -m pytest -p no:xdist -q tests/test_tree.py

format: setup ## Bring the code into the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

nightly: setup ## Run the slow proofs: tens of thousands of cases, soak, peers
	CRYPTO_TRACKER_HYPOTHESIS=nightly $(BIN)/python -m pytest -n 2 -m nightly $(ARGS)

bench: setup ## Measure speed: every benchmarks/bench_*.py
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

peers: setup ## Measure other backtesters on the same bars; they go to benchmarks/.environments
	@$(BIN)/python benchmarks/bench_peers.py $(ARGS)

lock: setup ## Choose package versions anew, within the bounds of pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate \
		--extra dev pyproject.toml -o requirements.lock

schema: setup ## Write docs/config-schema.json anew after the configuration tree has changed
	$(BIN)/crypto-tracker show-config --schema > $(VENV)/schema.json
	mv $(VENV)/schema.json docs/config-schema.json

clean: ## Remove the environment, caches and builds; what you made under user_data stays
	rm -rf $(VENV) benchmarks/.environments build dist
	rm -rf web/node_modules web/openapi.json web/src/lib/api/schema.d.ts src/crypto_tracker/desk/web/static
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
