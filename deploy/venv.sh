#!/usr/bin/env bash
# venv.sh - the Python environment that ferry runs in, exactly as locked.
#
#   venv.sh DIR LOCK [EDITABLE]
#
# Makes DIR a virtual environment with what the lock file LOCK lists, every file checked by hash.
# With EDITABLE (a source directory), `ferry` and `ferryd` in it run that source. Quick when
# nothing changed. A DIR that is a symbolic link belongs to somebody else and is used as it is.
#
# Takes the first Python of at least 3.11 that can make environments ($PYTHON, then PATH, then the
# system's); as root on a Debian-like system without one it installs python3-venv. Downloads are
# cached in $XDG_CACHE_HOME/ferry, or /var/cache/ferry for root.
set -euo pipefail
umask 022

say() { echo "venv: $*" >&2; }
[ $# -ge 2 ] || { say "usage: venv.sh DIR LOCK [EDITABLE]"; exit 2; }
venv=$1 lock=$2 source=${3:-}
build=$(dirname "$lock")/requirements-build.lock
[ ! -L "$venv" ] || exit 0

inputs() { # what the environment was made from
  cat "$0" "$build" "$lock" ${source:+"$source/pyproject.toml"} | sha256sum
  ([ -z "$source" ] || cd "$source"; pwd)
}
stamp=$venv/.ferry-stamp
wanted=$(inputs)
up_to_date() { [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; }
up_to_date && exit 0

suits() { # suits PYTHON: new enough, and able to make environments
  "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}
find_python() {
  local name
  for name in ${PYTHON:-} python3.11 python3.12 python3.13 python3 /usr/bin/python3; do
    if suits "$name"; then echo "$name"; return; fi
  done
  return 1
}

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
up_to_date && exit 0

if ! python=$(find_python); then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "needs Python 3.11 or newer with the modules venv and ensurepip (set PYTHON to its path)"
    exit 1
  fi
  say "installing python3-venv"
  [ -n "$(apt-cache --quiet=0 policy python3-venv 2>/dev/null | sed -n 's/^ *Candidate: [0-9]/&/p')" ] ||
    apt-get -q update >&2
  DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends python3-venv >&2
  python=$(find_python) || { say "this distribution's Python is older than 3.11"; exit 1; }
fi

cache=${XDG_CACHE_HOME:-}
if [ -n "$cache" ]; then cache=$cache/ferry; elif [ "$(id -u)" = 0 ]; then cache=/var/cache/ferry
else cache=$HOME/.cache/ferry; fi
export PIP_CACHE_DIR=$cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset PYTHONPATH PYTHONHOME

say "making $venv with $("$python" -V) ($("$python" -c 'import sys; print(sys.executable)'))"
rm -f "$stamp"
"$python" -m venv --clear "$venv"
pip=("$venv/bin/python" -m pip --quiet)
# The build backend first: the one package that has no wheel is built with it, not with whatever a
# build of its own would download unchecked.
"${pip[@]}" install --require-hashes -r "$build"
"${pip[@]}" install --require-hashes --no-build-isolation -r "$lock"
if [ -n "$source" ]; then
  "${pip[@]}" install --no-deps --no-index --no-build-isolation --editable "$source"
fi
"${pip[@]}" check >&2
inputs >"$stamp"
say "$venv is ready"
