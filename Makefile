# The developer's commands. `make demo` and `make test` work from a clean clone with Python >= 3.11 (with venv) and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST_FLAGS ?=
# Tests run beside each other: those with an engine wait more than they work.
JOBS   ?= 4

.PHONY: setup demo test storm bench bench-large bench-scrub session lint coverage wheel-test docs lock clean

setup: $(STAMP)

# Everything that is installed comes from requirements.lock and is checked against its hashes. The lock is whole: with
# --no-deps pip resolves nothing (pip 23.2 takes `coverage[toml]` for a second package, unpinned, once a newer one is out).
$(STAMP): requirements.lock $(wildcard gcd/*/_*.[ch]) deploy/wheel.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gcd needs Python 3.11 or newer: make PYTHON=python3.x")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	@$(BIN)/gcd demo

# With root rights and an engine also the tests of tests/engine, two storms of two minutes among them.
test: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_FLAGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Ten minutes of an engine at work on everything at once, with gcd looking.
storm: setup
	GCD_STORM_SECONDS=600 $(BIN)/python -m pytest tests/engine/test_storm.py $(PYTEST_FLAGS)

coverage: setup
	$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_FLAGS)

# The tests of what a wheel can break, from another directory, against the package that it installs.
wheel-test: setup
	PYTHON=$(abspath $(BIN)/python) sh tests/wheel.sh

# The figures that the README quotes. Roots are built once, below GCD_BENCH_DIR (default: ~/.cache/gcd-bench), 4 GB
# for the first and 8 GB more for the second. The engine's figure needs root rights and dockerd.
bench: setup
	$(BIN)/python bench/bench.py

bench-large: setup
	$(BIN)/python bench/bench.py --large

# How fast layers are verified, against sha256sum, cat and openssl. Needs root rights and dockerd.
bench-scrub: setup
	$(BIN)/python bench/scrub.py

# The session that the README shows, played with an engine of its own. Needs root rights and dockerd.
session: setup
	@$(BIN)/python bench/session.py

# The pictures that the README shows: docs/images. Needs Chromium.
.PHONY: pictures
pictures: setup
	$(BIN)/python bench/pictures.py

# The generated pages: docs/codes.md, docs/metrics.md, config/gcd.toml.
docs: setup
	$(BIN)/python -c 'from gcd.rules.catalogue import EVERY_RULE; from gcd.rules.document import page; \
	    print(page(EVERY_RULE), end="")' > docs/codes.md
	$(BIN)/python -c 'from gcd.metrics import page; print(page(), end="")' > docs/metrics.md
	$(BIN)/python -m gcd.settings > config/gcd.toml

# The JSON of deploy/grafana, from the definition beside it.
.PHONY: dashboards
dashboards: setup
	$(BIN)/python deploy/grafana/dashboards.py

# What CI has no time for: the Ansible role by ansible-lint and a play that changes nothing, the Kubernetes schemas.
.PHONY: deploy-check
deploy-check:
	PYTHON=$(PYTHON) deploy/check.sh

# Needs uv. --universal: one lock for every Python from 3.11 on.
lock:
	uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --extra dev \
	    --custom-compile-command 'make lock' --quiet --output-file requirements.lock pyproject.toml

clean:
	rm -rf gcd/*/*.so $(VENV) build dist htmlcov .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
