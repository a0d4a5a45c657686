# Two commands: `make run` and `make test`. Needs Python 3.11 or later with venv; everything else is set up here.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
PINS := setup.cfg pyproject.toml requirements.txt requirements-dev.txt
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat \
       -c requirements.txt -c requirements-dev.txt
TYPED := $(wildcard protocols services stores realtime deploy/local)
NPM := $(wildcard package.json tests/package.json tests/*/package.json)
DEBIAN := chromium  # commands that tests start, each from the Debian package of the same name
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help run test test-fast lint format soak bench system clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

run: $(VENV)/.run  ## set up, start everything, say where to go; Ctrl-C stops. DATA_DIR=.data PORT=8080
	@$(PY) -m deploy.local --bound

test: $(VENV)/.test $(VENV)/.npm system lint  ## set up, lint, and all tests. TESTS=tests/deploy for some
	@$(PY) -m pytest $(TESTS)

test-fast: $(VENV)/.test $(VENV)/.npm  ## the tests that are not slow, under 3 minutes
	@$(PY) -m pytest -m "not slow" $(TESTS)

lint: $(VENV)/.test  ## ruff (rules and format) and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy $(TYPED)

format: $(VENV)/.test  ## let ruff rewrite the files
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

soak: $(VENV)/.test  ## load for a long time, looking for leaks
	@$(PY) -m bench.soak

bench: $(VENV)/.test  ## measure
	@$(PY) -m bench

clean:  ## remove what was set up; the data stays
	rm -rf $(VENV) *.egg-info build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.made:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or later is needed: install it, or name it with PYTHON=/path/to/python3 make ..."; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) \
	  || { echo "Python's venv is missing (Debian: the package python3-venv): install it and try again"; exit 1; }
	@touch $@

$(VENV)/.run: $(PINS) | $(VENV)/.made
	@echo "installing what the product needs into $(VENV) (about a minute, once)"
	@$(PIP) -e '.[embedded]'
	@touch $@

$(VENV)/.test: $(PINS) | $(VENV)/.made
	@echo "installing what the tests need into $(VENV) (one or two minutes, once)"
	@$(PIP) -e '.[embedded,test,otel]'
	@touch $@ $(VENV)/.run

$(VENV)/.npm: $(NPM) | $(VENV)/.made
	@for file in $(NPM); do \
	  command -v npm >/dev/null || { echo "npm is missing: tests with JavaScript clients can't run"; break; }; \
	  npm install --prefix $$(dirname $$file) --no-package-lock --no-audit --no-fund --silent || exit 1; done
	@touch $@

# RUNLEVEL=1 keeps packages from starting services of their own.
system:
	@missing=; for c in $(DEBIAN); do PATH="$$PATH:/usr/sbin:/sbin" command -v $$c >/dev/null || missing="$$missing $$c"; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing from Debian:$$missing"; apt-get -qq update \
	  && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null; \
	else echo "missing, and only root with apt-get installs it here:$$missing"; fi
