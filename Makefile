# Everything a newcomer needs: `make serve`, `make test`, `make bench`. Python 3.11 or newer, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Where `make serve` listens and keeps its data.
PORT ?= 8080
VAR ?= var

# For how long `make soak` runs.
SECONDS ?= 3600

# What `make day` runs against, none: the demo hospital, which it starts; how long its 24 hours take (10 minutes, 2 with the demo); where its summary goes.
URL ?=
MINUTES ?=
OUT ?=

# Hospitals of 20,000 grants in the group that `make growth` measures: 500 make 10,000,000 grants and take half an hour more.
HOSPITALS ?= 50

.PHONY: help setup serve test lint types imports unit servers peers faults soak bench growth day lock clean
help:
	@echo "make serve   the gateway with the demo hospital on http://127.0.0.1:8080 (PORT=, VAR= move it)"
	@echo "make setup   a virtual environment with the locked dependencies"
	@echo "make test    set up and run everything: lint, types, import contracts, packs, tests"
	@echo "make servers PostgreSQL and Redis for the tests, from the system's packages where they are missing"
	@echo "make faults  everything killed, frozen and cut off under load, measured into docs/reliability.md"
	@echo "make soak    grants flipped and checked on two nodes while Redis and workers are killed (SECONDS=3600)"
	@echo "make peers   wrk and Cerbos's server for the benchmark, where they are missing"
	@echo "make bench   engine and service against targets and peers, a quarter of an hour, written to loadtests/RESULTS.md"
	@echo "make day     a day in a hospital as load, on a demo or on the deployment at URL= (docs/load.md)"
	@echo "make growth  time and memory by what a hospital or a group holds, into docs/performance.md (HOSPITALS=50)"
	@echo "make lock    renew the lock files after a change of pyproject.toml"

setup: $(READY)

$(READY): pyproject.toml requirements-dev.lock
	$(PYTHON) -c 'import sys; sys.exit("Surgate needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

serve: $(READY)
	@SURGATE_PORT=$(PORT) SURGATE_VAR_DIR=$(VAR) SURGATE_DEMO=1 exec $(BIN)/surgate serve

test: lint types imports unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

unit: $(READY) servers
	$(BIN)/python -m pytest -n auto

servers:
	@tools/servers.sh

faults: $(READY) servers
	$(BIN)/python -m loadtests.faults

soak: $(READY) servers
	$(BIN)/python -m loadtests.soak --seconds $(SECONDS)

peers:
	@tools/peers.sh

bench: $(READY) servers peers
	$(BIN)/python -m loadtests.bench

day: $(READY)
	@$(BIN)/python -m loadtests.day --url "$(URL)" $(if $(MINUTES),--minutes $(MINUTES)) $(if $(OUT),--out "$(OUT)")

growth: $(READY) servers
	$(BIN)/python -m loadtests.growth --hospitals $(HOSPITALS)

lock:
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --allow-unsafe --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --allow-unsafe --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --allow-unsafe --only-build-deps --build-deps-for wheel --constraint requirements-dev.lock --output-file requirements-build.lock pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
