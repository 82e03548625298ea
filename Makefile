# `make call` is the whole demonstration, `make test` the suite. `make help` lists the rest.

VENV ?= .venv
TO ?= +15550001234
OUT ?= out
MESSAGE ?= Hello, this is your agent calling from openclaw voicecall. How can I help?
BIN := $(VENV)/bin
export VENV

.DEFAULT_GOAL := help
.PHONY: call test test-hosts test-models soak lint lint-style lint-format lint-types lint-layers format docs bench bench-calls bench-local bench-twilio bench-model bench-agent clean help setup-call setup-test

setup-call:
	@sh .ci/setup call

setup-test:
	@sh .ci/setup test

call: setup-call ## Hold a spoken call with the agent on this machine, and keep its recording (TO, MESSAGE, OUT)
	@mkdir -p "$(OUT)"
	@"$(BIN)/openclaw-voicecall" call --to "$(TO)" --message "$(MESSAGE)" --record "$(OUT)"
	@"$(BIN)/openclaw-voicecall" calls --limit 5 --json | "$(BIN)/python" -m openclaw_voicecall.observe.waveform "$(OUT)" -

test: setup-test ## Run the tests; ARGS go to pytest
	@sh .ci/test $(ARGS)

test-hosts: setup-test ## Run the tests inside the real OpenClaw and hermes-agent, which npm and pip install first
	"$(BIN)/python" -m pytest --inside tests/inside -v $(ARGS)

test-models: setup-test ## Run what can fail on calls of speech models, over media streams and SIP, module by module, five minutes
	"$(BIN)/python" -m pytest --models tests/models -v $(ARGS)

soak: setup-test ## Run the long tests, one after the other, about an hour; ARGS go to pytest
	"$(BIN)/python" -m pytest --soak tests/soak -v -s $(ARGS)

lint: lint-style lint-format lint-types lint-layers ## Check style, types and the layers

lint-style: setup-test
	"$(BIN)/ruff" check .

lint-format: setup-test
	"$(BIN)/ruff" format --check .

lint-types: setup-test
	"$(BIN)/mypy"

lint-layers: setup-test
	"$(BIN)/lint-imports"

format: setup-test ## Put the sources into shape
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

docs: setup-test ## Write the generated parts of the documentation anew
	"$(BIN)/python" .ci/docs.py

bench: setup-test ## Measure what many calls cost, and all that is small beside them: SIZES of calls at a time; ARGS
	@"$(BIN)/python" bench/many_calls.py $(if $(SIZES),--sizes $(SIZES)) --out "$(OUT)/bench" $(ARGS)

bench-calls: setup-test ## The same for many calls alone
	@"$(BIN)/python" bench/many_calls.py --only calls $(if $(SIZES),--sizes $(SIZES)) --out "$(OUT)/bench" $(ARGS)

bench-local: setup-test ## Measure how fast calls feel on the local line: ARGS
	@"$(BIN)/python" bench/local_line.py $(ARGS)

bench-twilio: setup-test ## The same over Twilio's emulator, vendor by vendor: TWILIO_ARGS
	@"$(BIN)/python" bench/twilio_line.py $(TWILIO_ARGS)

bench-model: setup-test ## The same for a speech-to-speech model: MODEL_ARGS
	@"$(BIN)/python" bench/model_line.py $(MODEL_ARGS)

bench-agent: setup-test ## Measure what a turn of OpenClaw's agent costs beyond its model's time: ARGS
	@"$(BIN)/python" bench/agent_turn.py $(ARGS)

clean: ## Remove everything that was made here
	rm -rf "$(OUT)" build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf .venv

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
