# Every target does its own set-up; all that must be there is Rust, a C linker, Python 3.11 or later with venv, and git.

PYTHON ?= python3
CARGO ?= cargo
RELEASE := target/release/xdist
DEBUG := target/debug/xdist
VENV := .venv/bin/python
PYTHON_SOURCES := demo docs/examples tests tools xdist-worker/python

# With it set, every process of every test would compile Python's half again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-rust test-python test-plugins compare bench lint fuzz-smoke picture release debug clean

help:
	@echo "make demo                    run the example suite in demo/ on all cores"
	@echo "make test                    all tests: Rust, the Python half, and end to end"
	@echo "make test-plugins            a few pytest plugins beside pytest-xdist (PLUGINS=\"cov html\", or ALL=1)"
	@echo "make compare SUITE=networkx  show that a real suite gives plain pytest's outcomes (MODES=, N=, SUBSET=1)"
	@echo "make bench                   measure beside plain pytest and its peers (SUITES=, ROUNDS=, N=, MODES=, CONTENDERS=, TABLES=)"
	@echo "make lint                    formatting, clippy, licences, documentation"
	@echo "make fuzz-smoke              every fuzz target for 4 seconds"
	@echo "make clean                   remove everything that was made"

# The demo is a suite with faults, so the expected exit code is pytest's 1.
demo: release $(VENV)
	@cd demo && ../$(RELEASE) run --python ../$(VENV) -n auto; code=$$?; echo; \
	if [ $$code -eq 1 ]; then \
		echo "As it should be: demo/ has failing tests and one crash on purpose, and every other test was run (demo/README.md)."; \
	else \
		echo "Not as it should be: the exit code is $$code, and 1 was expected."; exit 1; \
	fi

test: test-rust test-python

test-rust: $(VENV)
	XDIST_TEST_PYTHON=$(CURDIR)/$(VENV) $(CARGO) test --workspace --locked

# Most of what these do is to wait for processes, so three at a time keep two cores busy; long ones begin first.
PARTS = xdist-worker/python/tests tests/engines tests/docs tests/tools $(shell ls -S tests/e2e/test_*.py)
test-python: debug $(VENV)
	@$(MAKE) --no-print-directory -j3 --output-sync=target $(PARTS:%=test-part/%)

test-part/%:
	XDIST=$(CURDIR)/$(DEBUG) $(VENV) -m pytest -q -rs -p no:cacheprovider $*

# Each plugin has an environment of its own, which is made once. ALL=1 also runs them with this project installed.
plugin-tests = $(1:%=tests/plugins/test_%.py)
PLUGIN_TESTS = $(if $(ALL),tests/plugins,$(if $(PLUGINS),$(call plugin-tests,$(PLUGINS)),\
	-m "not thorough" $(call plugin-tests,cov html randomly rerunfailures texts)))
test-plugins: debug $(VENV)
	XDIST=$(CURDIR)/$(DEBUG) XDIST_TEST_INSTALLED=$(ALL) $(VENV) -m pytest -q -rs -p no:cacheprovider $(PLUGIN_TESTS)

SUITE ?= networkx
compare: release
	$(PYTHON) tools/compare.py $(SUITE) $(if $(MODES),--modes $(MODES)) $(if $(N),--workers $(N)) $(if $(SUBSET),--subset)

bench: release
	$(PYTHON) tools/bench.py $(if $(SUITES),--suites $(SUITES)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(N),--workers $(N)) $(if $(CONTENDERS),--contenders "$(CONTENDERS)") $(if $(TABLES),--tables $(TABLES)) \
		$(if $(MODES),--modes $(MODES))

lint: $(VENV)
	$(VENV) -m ruff format --quiet --check $(PYTHON_SOURCES)
	$(VENV) -m ruff check --quiet $(PYTHON_SOURCES)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --all-features check licenses bans sources; \
	else echo "not run: cargo deny check licenses bans sources (cargo-deny is not installed)"; fi

fuzz-smoke:
	tools/fuzz-smoke 4

# The picture in README.md.
picture: release $(VENV)
	cd demo && ../$(VENV) ../tools/picture.py ../docs/images/run.svg \
		--part 'test session starts:14' --part '_ tests/test_engine.py _:12' --part 'short test summary:8' \
		-- ../$(RELEASE) run --python ../$(VENV) -n 2 --color=yes

release:
	@$(CARGO) build --release --locked --quiet --package xdist-cli

debug:
	@$(CARGO) build --locked --quiet --package xdist-cli

$(VENV): tools/requirements.txt tools/requirements-plugins.txt
	@$(PYTHON) -m venv .venv
	@$(VENV) -m pip install --quiet --disable-pip-version-check --requirement tools/requirements.txt
	@$(VENV) -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target .venv/plugins \
		--requirement tools/requirements-plugins.txt
	@touch $@

clean:
	rm -rf .venv .cache target fuzz/target
