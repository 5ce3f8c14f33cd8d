# Everything happens in .venv; "make run" and "make test" are the README's two commands.
BIN := .venv/bin

# The newest comes first, as its bug fixes last longest; all three pass the tests.
PYTHONS := python3.13 python3.12 python3.11 python3
PYTHON ?=

# usable: of a supported release (requires-python in pyproject.toml), and able to create an environment
USABLE := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

.PHONY: run test quick check install docs clean

install: .venv/installed

.venv/installed: pyproject.toml
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	  if "$$python" -c '$(USABLE)' 2>/dev/null; then \
	    echo "Python: $$(command -v "$$python"), $$("$$python" --version)"; \
	    exec "$$python" -m venv --clear .venv; \
	  fi; \
	done; \
	echo "no usable Python among: $(or $(PYTHON),$(PYTHONS)). Needed: 3.11 to 3.13 with its venv module" \
	  "(Debian, Ubuntu: apt-get install python3-venv), or name one: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python" >&2; \
	exit 1
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[all,dev]'
	touch $@

run: install
	$(BIN)/python scripts/main_job.py

test: install
	$(MAKE) check BIN=$(BIN)

# without what trains, compiles, emulates or starts processes
quick: install
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

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
	rm -rf .venv build dist site .cache outputs multirun .pytest_cache .mypy_cache .ruff_cache .hypothesis
