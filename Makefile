# Each target is complete from a fresh clone: it makes .venv, installs what it needs, runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GUIDES := .venv-guides

.PHONY: demo check test broad guides soak lint docs bench experiments

demo: $(READY)
	@$(BIN)/cenote diagnose minilm -o report.html

# Before every commit: unit tests, and one test of each verb from end to end.
check: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not broad and not soak"

# What .ci/run calls: two processes of one thread each, since threads of both would wait for each other.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations=10 --ignore tests/embedding/test_cluster.py
	$(BIN)/python -m pytest tests/embedding/test_cluster.py # alone: its nodes take both cores

# Cases that repeat those of `make test` for more families of models, backends and formats, and long simulations: before a release.
broad: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m broad --ignore tests/embedding/test_cluster.py
	$(BIN)/python -m pytest -m broad tests/embedding/test_cluster.py

# The snippets of docs/using.md with every library that they show, in an environment of their own: 3 GB, an hour on a busy machine.
guides: $(GUIDES)/.ready
	$(GUIDES)/bin/python -m pytest tests/test_using.py

# 1,000 kills of `cenote embed` and 100,000 malformed inputs: hours.
soak: $(READY)
	$(BIN)/python -m pytest -m soak --durations=0 -rP

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages that are generated from the code, then the site in build/site: a link that leads nowhere is an error.
docs: $(READY)
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "the site: build/site/index.html; with its search: $(BIN)/python -m http.server --directory build/site"

BENCHMARKS := comparing diagnosing embedding evaluation int8 landmarks length pooling products search second_order similarity spectrum startup tempering training

# The tables of docs/benchmarks.md, hours; those by length and by labels need the folder that CENOTE_DATA names.
bench: $(READY)
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

# torch is installed first and alone, so that the later steps keep the build that your package index offers.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The newest versions that agree with each other, as users get them: Python 3.11 or newer.
$(GUIDES)/.ready: pyproject.toml
	$(PYTHON) -m venv $(GUIDES)
	$(GUIDES)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(GUIDES)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,guides,test]'
	@touch $@

# Every figure, with the demo model, from few texts and toy trainings, on one page.
experiments: $(READY)
	$(BIN)/python -m experiments.all --quick -o build/experiments
