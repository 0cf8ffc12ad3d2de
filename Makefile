# What there is to do here. Every target sets up .venv first, where it is missing or out of date.

PYTHON ?=
JOBS ?= auto
ARGS ?=
SECONDS ?= 60

BIN := .venv/bin
# By file, so that what a file reads or imports once is not read by every worker.
UNIT := $(BIN)/pytest -n $(JOBS) --maxprocesses 8 --dist loadfile tests/unit
# A worker more than processors: tests wait, for processes and for who takes over from the dead. With two more the
# processors were busier, and the one run that was timed was no shorter.
ALL := $(BIN)/pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 6 --dist loadgroup

# Without kept bytecode every start pays for compiling anew, and every test run for rewriting the tests' assertions.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: chaos conformance help demo test test-postgres test-agents unit check bench bench-ui docs fuzz fmt lock web wheel image-wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: web ## the whole main job on a sample repository, with a scripted model and real sandboxes
	@$(BIN)/quarterdeck demo $(ARGS)

test: web ## all tests; what has a deck on SQLite and on PostgreSQL
	@.ci/chromium
	@$(ALL) --store both tests $(ARGS)

test-postgres: web ## all tests once, with every deck in PostgreSQL but where a test is about SQLite
	@.ci/chromium
	@$(ALL) --store postgres tests $(ARGS)

test-agents: .venv/made ## Claude Code, Codex, OpenCode and Gemini CLI, installed in build/agents, each before a scripted model
	@$(BIN)/python -m test_agents $(ARGS)

unit: .venv/made ## the unit tests alone, in seconds
	@$(UNIT) $(ARGS)

check: web ## format, lint, strict types, floors and unit tests
	@$(BIN)/ruff format --check --quiet . || { echo "make fmt mends the format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >.import_linter_cache.log 2>&1 || { cat .import_linter_cache.log; exit 1; }
	@$(BIN)/python web/build.py check
	@$(UNIT) $(ARGS)

bench: .venv/made ## the figures beside the peers', each in its own environment; build/bench.json (one: make bench ARGS=steps)
	@$(BIN)/python -m bench $(ARGS)

chaos: .venv/made ## four workers on PostgreSQL, and everything that can go wrong, for 10 minutes; build/chaos.json
	@$(BIN)/python -m bench.chaos $(ARGS)

bench-ui: web ## the dashboard before a million records and a thousand agents at work; build/bench-ui.json
	@.ci/chromium
	@$(BIN)/python -m bench.ui $(ARGS)

docs: .venv/made ## write docs/reference and the list of prices from the code and its data
	@$(BIN)/python docs/prices.py
	@$(BIN)/python -m docs.generate
	@$(BIN)/python docs/shapes.py

conformance: .venv/made ## the official MCP conformance tool against our server and our client (one side: make conformance ARGS=server)
	@$(BIN)/python -m conformance $(ARGS)

fuzz: .venv/made ## search every parser of untrusted input for bugs, SECONDS each (60), or one: make fuzz TARGET=plan_file
	@mkdir -p build
	@for target in $(or $(TARGET),$$($(BIN)/python -m fuzz)); do echo "$$target"; \
	  $(BIN)/python -m fuzz $$target --seconds $(SECONDS) >build/fuzz-$$target.log 2>&1 \
	    || { tail -n 40 build/fuzz-$$target.log >&2; exit 1; }; grep '^Done' build/fuzz-$$target.log; done

fmt: .venv/made ## format and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/python web/build.py fmt

lock: .venv/made ## resolve the dependencies anew into requirements.lock (newer versions: make lock ARGS=--upgrade)
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --extra dev --extra bwrap --extra fuzz \
	  --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --output-file requirements.lock $(ARGS)

web: .venv/made ## build the dashboard into the package, where web/ has changed
	@$(BIN)/python web/build.py

wheel: web ## build the wheel into dist/
	@$(BIN)/hatchling build --target wheel --directory dist

image-wheel: wheel ## put the wheel beside deploy/Dockerfile, for docker compose build
	@rm -f deploy/*.whl
	@cp "$$(ls -t dist/quarterdeck-*.whl | head -n 1)" deploy/

clean: ## remove everything that was made here
	@rm -rf .venv build dist deploy/*.whl web/node_modules src/quarterdeck/web .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .import_linter_cache.log
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/made: requirements.lock pyproject.toml .ci/venv
	@.ci/venv $(PYTHON)
