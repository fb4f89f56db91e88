# Every command of the project. `make help` lists them.
# A fresh machine needs Python 3.11 or newer and make; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: help setup run test test-states test-openapi test-kills test-limits test-faults test-cuts bench bench-codecs bench-limits openapi lint type check lock clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

run: $(RUN) ## Start chatd on http://127.0.0.1:8000 (SQLite, no Redis, offline demo model)
	@exec $(BIN)/python manage.py up $(ARGS)

setup: $(DEV) ## Install everything for development into .venv

test: $(DEV) ## Run the tests on SQLite and on PostgreSQL, then two seeds of faults
	$(BIN)/python tests/run.py -n 2 $(ARGS)

test-states: $(DEV) ## Drive the state machine with 20,000 random steps per database
	CHATD_TEST_STEPS=20000 $(BIN)/python tests/run.py tests/chats -n 2 --timeout 1800

test-openapi: $(DEV) ## Send the API thousands of new random requests made from its document, per database
	CHATD_TEST_EXAMPLES=400 $(BIN)/python tests/run.py tests/api/test_openapi_random.py -n 2 --timeout 1800

test-kills: $(DEV) ## Kill workers at 50 random moments of turns with tools
	CHATD_TEST_KILLS=10 $(BIN)/python tests/run.py tests/e2e/test_killed_workers.py -n 0 --timeout 1800

test-limits: $(DEV) ## Run 200 turns at once near a limit while workers are killed, 50 times
	CHATD_TEST_RACES=50 $(BIN)/python tests/run.py tests/e2e/test_limit_races.py -n 0

test-faults: $(DEV) ## Break every part of a deployment at work, 20 seeds: what is lost, doubled or stuck
	CHATD_TEST_FAULT_SEEDS=$${CHATD_TEST_FAULT_SEEDS:-20} CHATD_TEST_FAULT_BACKLOG=300 $(BIN)/python tests/run.py tests/faults -n 0 $(ARGS)

test-cuts: $(DEV) ## Cut every recorded stream at every byte
	CHATD_TEST_CUTS=all $(BIN)/python -m pytest tests/llm/test_recorded_streams.py -k cut_at_any -n 2

bench: $(DEV) ## Measure what chatd adds to a model's stream, beside a bare floor (under ten minutes)
	$(BIN)/python bench/chat/run.py $(ARGS)

bench-codecs: $(DEV) ## Compare what reading recorded streams costs with a bare reader
	$(BIN)/python bench/codecs.py

bench-limits: $(DEV) ## Compare asking for a usage limit with a thousand and a million rows of history
	$(BIN)/python bench/limits.py

openapi: $(DEV) ## Write docs/openapi.json anew from the code
	$(BIN)/python manage.py spectacular --format openapi-json --file docs/openapi.json --validate --fail-on-warn

lint: $(DEV) ## Check format, style, templates and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/djlint --quiet --lint templates
	$(BIN)/lint-imports

type: $(DEV) ## Check types (mypy strict)
	$(BIN)/mypy

check: lint type ## Lint, types, migrations and system checks
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check

lock: $(DEV) ## Write the lock files anew from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --extra otel -c requirements.lock pyproject.toml -o requirements-otel.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove the environment and caches, but no data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("chatd needs Python 3.11 or newer.") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(RUN): requirements.lock | $(BIN)/python
	$(PIP) -r requirements.lock
	@touch $@

$(DEV): requirements-dev.lock | $(BIN)/python
	$(PIP) -r requirements-dev.lock
	@touch $@ $(RUN)
