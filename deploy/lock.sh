#!/usr/bin/env bash
# lock.sh - rewrite the requirements lock files from pyproject.toml: every version, every hash.
#
# For maintainers (`make lock`). The resolver works for all Pythons from 3.11 on, so one lock serves
# every distribution; what is locked stays as it is unless --upgrade is given.
set -euo pipefail
cd "$(dirname "$0")/.."

resolver=uv==0.13.9
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --quiet install "$resolver"

compile() { # compile OUTPUT ARG...
  local output=$1
  shift
  # No index options of this machine: they would end up in the lock file.
  env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u UV_INDEX_URL "$folder/venv/bin/uv" pip compile --quiet \
    --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" --output-file "$output" "$@"
}
compile requirements.lock "$@" pyproject.toml
compile requirements-dev.lock "$@" --extra dev --constraint requirements.lock pyproject.toml
sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml >"$folder/build.in"
compile requirements-build.lock "$@" --no-annotate "$folder/build.in"
