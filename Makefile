# Each of these works as the first command after a clone; `make` alone lists them.
#
#   make setup   make .venv with ART and its development tools (and install Debian packages that are missing)
#   make demo    run commands in a sandbox of a sample workspace, and see what they could do
#   make test    run all tests: the quick ones, then the slow (ARGS="-k name" selects)
#   make fuzz    run the tests by random work for an hour, with a new seed (FUZZ_TIMES=5 for a fifth of it,
#                FUZZ_SEED=number for the work of an earlier run, whose first lines say its seed)
#   make agents  try the real agents, from npm and PyPI, each in a session with a model server of the tests
#   make lint    ruff (format and lint) and mypy, strict
#   make bench   run the benchmarks
#   make docs    the documentation as a site, in build/site
#   make deb     build Debian packages, one for each part, into dist/
#   make clean   remove .venv and everything that was generated

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz agents lint bench docs deb clean

VENV := .venv
READY := $(VENV)/.ready
# Sandboxes wait more than they compute, and timing tests want a core of their own.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n > 4 ? 4 : n)))
ARGS ?=
# How many times as much random work as in `make test`, and where it begins.
export FUZZ_TIMES ?= 25
FUZZ_SEED := $(or $(FUZZ_SEED),$(shell od -An -N7 -tu8 /dev/urandom | tr -d ' '))
# The tests call ART as root and as a plain user they make, so they want to be root themselves.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || ! sudo -n true 2>/dev/null || \
  echo sudo -n env FUZZ_TIMES=$(FUZZ_TIMES) PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/art-test-hypothesis)
PYTEST := $(AS_ROOT) $(VENV)/bin/python -m pytest $(if $(AS_ROOT),-p no:cacheprovider) -n $(JOBS) $(ARGS)

# A selection may well hold no test of one of the two halves.
NONE_IS_FINE := $(if $(ARGS),|| [ $$? -eq 5 ])

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): pyproject.toml .ci/prerequisites .ci/venv
	@.ci/prerequisites
	@.ci/venv $(VENV)
	@touch $@

demo: $(READY)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" bash docs/demo.sh

test: $(READY)
	$(PYTEST) -m "not slow" $(NONE_IS_FINE)
	$(PYTEST) -m slow $(NONE_IS_FINE)

fuzz: $(READY)
	$(PYTEST) -m hypothesis --hypothesis-profile=fuzz --hypothesis-seed=$(FUZZ_SEED)

agents: $(READY)
	$(PYTEST) tests/journeys/real_agents.py

lint: $(READY)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: $(READY)
	$(VENV)/bin/python benchmarks/startup.py
	$(VENV)/bin/python benchmarks/sessions.py
	$(VENV)/bin/python benchmarks/throughput.py
	$(VENV)/bin/python benchmarks/filesystem.py
	$(VENV)/bin/python benchmarks/overlay.py
	$(VENV)/bin/python benchmarks/overlayfs.py
	$(VENV)/bin/python benchmarks/changes.py
	$(VENV)/bin/python benchmarks/scale.py
	$(VENV)/bin/python benchmarks/layers.py
	$(VENV)/bin/python benchmarks/tracing.py

docs: $(READY)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --editable ".[docs]"
	$(VENV)/bin/python contrib/site/settings_page.py
	$(VENV)/bin/python -m mkdocs build --strict

deb: $(READY)
	@work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && \
	  $(VENV)/bin/python -m build --sdist --no-isolation --outdir "$$work" . >/dev/null && \
	  tar -C "$$work" -xzf "$$work"/*.tar.gz && rm "$$work"/*.tar.gz && \
	  contrib/packaging/debian.sh "$$work"/* dist && ls dist/*.deb

clean:
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
