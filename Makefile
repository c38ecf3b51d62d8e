# Two targets do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test quick e2e lint types check docs bench fuzz gates-at torture mutants clean

demo: $(STAMP)
	@echo "# the launch plan of guests/hello, and its launch digest:"
	@$(BIN)/sevbuild plan guests/hello/guest.toml
	@$(BIN)/sevbuild measure --quiet guests/hello/guest.toml

# The whole suite, a worker for each processor; make test T=tests/cli/test_measure.py runs some of it, uncovered.
PARALLEL := --numprocesses=auto --dist=worksteal
T ?=
test: $(STAMP)
	$(BIN)/pytest $(or $(T),$(PARALLEL) --cov --cov-report=term)

# What is not marked slow, in under a minute on two processors; the summary counts what was left out, by file.
quick: $(STAMP)
	$(BIN)/pytest $(PARALLEL) --quick

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "sevbuild needs Python 3.10 or later; point PYTHON at one: make PYTHON=python3.12 demo" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

# Real firmware and a real kernel under emulation (docs/e2e.md); .ci/run fetches what it needs.
e2e: $(STAMP)
	$(BIN)/pytest -m e2e --durations=5 tests/e2e

# docs/manifest.md, docs/profiles.md and docs/appraisal.md are generated; a test keeps them current.
docs: $(STAMP)
	$(BIN)/python tools/make_docs.py

# Ratios against sev-snp-measure and raw hashlib, written to docs/benchmarks.md.
bench: $(STAMP)
	$(BIN)/python tools/bench.py

# Ten minutes on the parsers of untrusted bytes: make fuzz SECONDS=600
SECONDS ?= 600
fuzz: $(STAMP)
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS)

# The tests of the gates against an earlier commit, where each must fail on its assertion: make gates-at REV=e3e929f
REV ?= e3e929f
gates-at: $(STAMP)
	$(BIN)/python tools/gates_at.py $(REV)

# A thousand kills of runs that write, and two hundred runs at once: make torture KILLS=1000 RUNS=200 SEED=1
KILLS ?= 1000
RUNS ?= 200
SEED ?= 1
torture: $(STAMP)
	$(BIN)/python tools/torture.py --kills $(KILLS) --runs $(RUNS) --seed $(SEED)

# Thousands of small changes of the core, each of which a test beside it must notice: make mutants M=igvm/rules.py
M ?=
mutants: $(STAMP)
	$(BIN)/python -m pip install --quiet --group mutants
	nice -n 10 $(BIN)/python tools/mutants.py $(M)

clean:
	rm -rf $(VENV) .venv-bench .cache .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist build
