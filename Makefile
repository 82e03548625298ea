# `make call` is the whole demonstration, `make test` the whole suite. `make help` lists the rest.

VENV ?= .venv
TO ?= +15550001234
OUT ?= out
MESSAGE ?= Hello, this is your agent calling from openclaw voicecall. How can I help?
BIN := $(VENV)/bin
export VENV

.DEFAULT_GOAL := help
.PHONY: call test lint format docs bench soak clean help

call: ## Hold a spoken call with the agent on this machine, and keep its recording (TO, MESSAGE, OUT)
	@sh .ci/setup call
	@mkdir -p "$(OUT)"
	@"$(BIN)/openclaw-voicecall" call --to "$(TO)" --message "$(MESSAGE)" --record "$(OUT)"
	@"$(BIN)/openclaw-voicecall" calls --limit 5 --json | "$(BIN)/python" -m openclaw_voicecall.observe.waveform "$(OUT)" -

test: ## Run every test; ARGS go to pytest
	@sh .ci/setup test
	@sh .ci/test $(ARGS)

lint: ## Check style, types and the layers
	@sh .ci/setup test
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"

format: ## Put the sources into shape
	@sh .ci/setup test
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

docs: ## Write the generated parts of the documentation anew
	@sh .ci/setup test
	"$(BIN)/python" .ci/docs.py

bench: ## Measure latency and load
	@sh .ci/setup test
	@"$(BIN)/python" bench/run.py $(ARGS)

soak: ## Hold calls for a long time and watch memory
	@sh .ci/setup test
	@"$(BIN)/python" bench/soak.py $(ARGS)

clean: ## Remove everything that was made here
	rm -rf "$(OUT)" build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf .venv

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
