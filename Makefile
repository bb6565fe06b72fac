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

.PHONY: generate
generate:
	$(PY) -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. \
	  --mypy_out=. --mypy_grpc_out=only_async:. cri/api/runtime/v1/api.proto
