#!/usr/bin/env bash
# install.sh - put ferry on this node (`make install`), or bring it up to this source tree.
#
#   install.sh [--prefix DIR] [--destdir DIR] [--no-start]
#
# Lays down: the node's tools and a Python environment under the prefix (/opt/ferry), `ferry` and
# `ferryd` in /usr/local/bin, /etc/ferry/config.toml, crictl's endpoint (only where there is none)
# and the systemd units, which it starts. What is there already and may be changed by hand is kept.
# An environment is never changed in place: a new one is made beside it and a link is switched, so
# the running daemon keeps its own until it is restarted. Pods outlive that.
#
#   --destdir   put everything but the prefix below this directory, and start nothing
#   --no-start  start nothing
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."

prefix=/opt/ferry destdir='' start=1
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=$2; shift ;;
    --destdir) destdir=$2 start=0; shift ;;
    --no-start) start=0 ;;
    *) echo "install: unknown argument: $1" >&2; exit 2 ;;
  esac
  shift
done
say() { echo "install: $*" >&2; }
die() { say "$*"; exit 1; }
[ "$(id -u)" = 0 ] || die "must run as root"
case $prefix in /*) ;; *) die "--prefix must be an absolute path" ;; esac

program=(cri runtime store deploy pyproject.toml README.md LICENSE)

install_environment() {
  local version source target
  version=$(find "${program[@]}" requirements*.lock -type f ! -name "*.pyc" ! -path "deploy/*.sh" -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
  target=$prefix/venvs/$version
  mkdir -p "$prefix/venvs"
  deploy/venv.sh "$target" requirements.lock
  if [ ! -e "$target/bin/ferryd" ]; then
    source=$(mktemp -d)
    cp -r "${program[@]}" "$source"
    "$target/bin/python" -m pip --quiet --disable-pip-version-check install \
      --no-deps --no-index --no-build-isolation "$source"
    rm -rf "$source"
  fi
  "$target/bin/python" -m compileall -q "$target/lib" || true
  touch "$target"
  ln -sfn "venvs/$version" "$prefix/venv.new"
  mv -fT "$prefix/venv.new" "$prefix/venv"
}
keep_or_write() { # keep_or_write PATH: from standard input, unless PATH is there
  if [ -e "$1" ]; then
    say "kept $1"
    cat >/dev/null
  else
    mkdir -p "$(dirname "$1")"
    cat >"$1.new"
    mv "$1.new" "$1"
  fi
}
install_configuration() {
  mkdir -p "$destdir/etc/ferry/conf.d"
  "$prefix/venv/bin/ferryd" config default | keep_or_write "$destdir/etc/ferry/config.toml"
  if [ "$prefix" != /opt/ferry ]; then
    printf '# Where install.sh put the tools.\n[tools]\nprefix = "%s"\n' "$prefix" \
      >"$destdir/etc/ferry/conf.d/00-prefix.toml"
  fi
  keep_or_write "$destdir/etc/crictl.yaml" <deploy/crictl.yaml
}
install_unit() {
  mkdir -p "$destdir/etc/systemd/system"
  sed "s|@PREFIX@|$prefix|g" deploy/ferryd.service >"$destdir/etc/systemd/system/ferryd.service"
  cp deploy/ferry-monitors.service "$destdir/etc/systemd/system/"
}
install_commands() {
  local name completions=$destdir/usr/share/bash-completion/completions
  mkdir -p "$destdir/usr/local/bin" "$completions"
  _FERRY_COMPLETE=source_bash "$prefix/venv/bin/ferry" >"$completions/ferry"
  for name in ferry ferryd; do
    ln -sfn "$prefix/venv/bin/$name" "$destdir/usr/local/bin/$name"
  done
}
forget_old_environments() { # all but the one in use and the one before it
  find "$prefix/venvs" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn |
    tail -n +3 | cut -d' ' -f2- | while read -r old; do rm -rf "$old" "$old.lock"; done
}

deploy/install-tools.sh --prefix "$prefix"
install_environment
install_configuration
install_unit
install_commands
"$prefix/venv/bin/ferryd" config check --config "$destdir/etc/ferry/config.toml" ||
  say "mend the configuration above, then: systemctl restart ferryd"

if [ $start = 1 ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl enable --quiet ferryd.service
  systemctl restart ferryd.service
  forget_old_environments
  say "ferryd runs: $(systemctl show --property=StatusText --value ferryd.service)"
elif [ $start = 1 ]; then
  say "systemd does not run here: start it with $prefix/venv/bin/ferryd"
fi
