# SPDX-License-Identifier: Apache-2.0
# The one door: people and CI call the same targets.
#
#   make demo     three uplinks, one authentication, three tunnels, on this machine
#   make test     what CI runs: check, strongSwan's suites with the series, the lab
#   make check    format, lint, types, unit tests: no root, no network
#   make full     what takes longer: each patch, sanitizer, guest, matrix, figures; STAGES="long guest"
#   make charon   build the patched charon
#   make deb      Debian packages of it: SUITES=trixie for one suite
#   make wheelhouse   wheel, sdist, and wheels for hosts without a package index
#   make guest CMD="ip xfrm state"    run a command on a Debian kernel with ESP
#   make images   the rig's container images, for `docker compose up` in docker/
#   make interop  the rig's matrix, in containers or with BACKEND=netns; ONLY="--scenarios eap"
#   make ansible-test  the collection in ansible/, on containers with systemd
#   make base-image    debian:bookworm-slim and trixie-slim where no registry has them
#   make packages | format | clean    Debian's packages; write the format; remove what was made

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
SUITES ?= bookworm trixie
STAMP  := $(VENV)/.installed

.PHONY: check test full demo charon deb wheelhouse guest images interop base-image ansible-test packages format clean

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -m "not real and not build and not guest and not docker and not ansible"

test: $(STAMP)
	scripts/test

full: $(STAMP)
	STAGES="$(STAGES)" scripts/full

# installs what it needs itself: on a fresh machine even the stamp needs a package first
demo:
	scripts/demo

charon: $(STAMP)
	$(BIN)/vici-mif charon build

deb: $(STAMP)
	scripts/deb $(SUITES)

wheelhouse: $(STAMP)
	scripts/wheelhouse $(SUITES)

guest: export COMMAND = $(CMD)
guest: $(STAMP)
	$(BIN)/vici-mif guest -- "$$COMMAND"

images: $(STAMP)
	scripts/images $(IMAGES)

BACKEND ?= docker
interop: $(STAMP)
	scripts/interop --backend $(BACKEND) $(ONLY)

base-image:
	eval "$$(scripts/docker-engine)" && scripts/base-image bookworm trixie

ansible-test: $(STAMP)
	scripts/ansible-test $(OPTIONS)

packages:
	scripts/packages

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
