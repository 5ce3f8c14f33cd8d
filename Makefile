# Everything happens in .venv; "make run" and "make test" are the README's two commands.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: run test check install docs clean

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

run: install
	$(BIN)/python scripts/main_job.py

test: install
	$(MAKE) check BIN=$(BIN)

check:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal

# the pages in site/, by zensical and then by mkdocs, whose theme it succeeds: both read one mkdocs.yml
docs: .venv/docs
	$(BIN)/zensical build --strict
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@

clean:
	rm -rf .venv site .cache outputs multirun .pytest_cache .mypy_cache .ruff_cache .hypothesis
