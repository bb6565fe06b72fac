# Two commands matter: `make demo` and `make test`. Each sets up all it needs.
#
#   make demo     a pod's whole life on this machine, step by step; leaves nothing behind
#   make test     set-up, every check, every test (root: in scopes of their own)
#   make check    format, lint, types, imports, document links, shell scripts
#   make bench    ferry beside containerd, in one run
#   make e2e-vm   ferry installed on an emulated Debian 13: systemd, cgroup v2 (slow)
#   make e2e-kubelet  the part of the tests in which a real kubelet runs pods on ferry
#   make install  ferry on this node: programs, environment, configuration, systemd unit
#
# Caches lie outside the tree: $XDG_CACHE_HOME/ferry, or /var/cache/ferry for root.
VENV ?= .venv
PREFIX ?= /opt/ferry
PY := $(VENV)/bin/python
SCRIPTS := $(shell git ls-files '*.sh') .ci/run
# Tests that need the kernel run in scopes of their own, which only root can make.
SCOPE := $(if $(filter 0,$(shell id -u)),tests/scope.sh)

.PHONY: help
help:
	@sed -n '2,/^VENV/s/^# \{0,1\}//p' Makefile

# --- set-up: quick when nothing changed --------------------------------------------------------

.PHONY: venv tools fixtures kubelet setup
venv:
	@deploy/venv.sh $(VENV) requirements-dev.lock .

tools:
	@$(if $(SCOPE),deploy/install-tools.sh --prefix $(PREFIX) --tests,:)

# What the tests make images from: packages of the distribution, fetched before a scope cuts the
# network off.
fixtures: venv tools
	@$(if $(SCOPE),$(PY) -m e2e.packages,:)

# Built from its Go module where there is Go, which takes minutes the first time.
kubelet: venv
	@$(if $(SCOPE),$(PY) -m e2e.kubelet,:)

setup: venv tools fixtures

# --- checks ------------------------------------------------------------------------------------

.PHONY: check format
check: venv
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m tests.docs
	$(PY) -m tests.states
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); \
	  else echo "shellcheck is not installed: shell scripts are not checked"; fi

format: venv
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# --- tests -------------------------------------------------------------------------------------

# The checks run in a make of their own: `make -j` must not put their output after pytest's summary.
.PHONY: test
test: setup kubelet
	@$(MAKE) --no-print-directory check
	$(SCOPE) $(PY) -m pytest $(TESTS)

.PHONY: demo bench
demo: setup
	@$(PY) -m e2e.demo

bench: setup
	@$(PY) -m e2e.bench.peer || true
	@$(PY) -m e2e.bench $(BENCH)

.PHONY: e2e-kubelet
e2e-kubelet: setup kubelet
	$(SCOPE) $(PY) -m pytest $(if $(TESTS),$(TESTS),e2e/kubelet) --handler crun
	$(SCOPE) $(PY) -m pytest $(if $(TESTS),$(TESTS),e2e/kubelet) --handler runc

# Builds a machine with QEMU; skips with the reason where that is not installed.
.PHONY: e2e-vm
e2e-vm: setup
	@$(PY) -m e2e.vm $(TESTS)

# --- a node ------------------------------------------------------------------------------------

.PHONY: install uninstall
install:
	@deploy/install.sh --prefix $(PREFIX)

uninstall:
	@deploy/uninstall.sh --prefix $(PREFIX)

# --- maintenance -------------------------------------------------------------------------------

.PHONY: generate lock docs
generate: venv
	$(PY) -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. \
	  --mypy_out=. --mypy_grpc_out=only_async:. cri/api/runtime/v1/api.proto cri/api/ferry/v1/node.proto

# What documents take from the code: the state diagram, the file of all options.
docs: venv
	$(PY) -m tests.states --write
	$(PY) -m cri config default >deploy/config.toml

lock: venv
	deploy/lock.sh
