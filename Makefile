# Two commands matter: `make demo` and `make test`. Each sets up all it needs.
VENV ?= .venv
PY := $(VENV)/bin/python

.PHONY: check format
check:
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format:
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .
