#!/usr/bin/env bash
# uninstall.sh - take ferry off this node (`make uninstall`).
#
#   uninstall.sh [--prefix DIR] [--destdir DIR] [--purge]
#
# Refuses while pods run: without a daemon nobody could stop them. Keeps configuration, images and
# records; with --purge the pods are removed first, then those go as well. What others may have
# changed (crictl's endpoint) goes only where it is as install.sh left it.
set -euo pipefail
cd "$(dirname "$0")/.."

prefix=/opt/ferry destdir='' purge=0
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=$2; shift ;;
    --destdir) destdir=$2; shift ;;
    --purge) purge=1 ;;
    *) echo "uninstall: unknown argument: $1" >&2; exit 2 ;;
  esac
  shift
done
say() { echo "uninstall: $*" >&2; }
die() { say "$*"; exit 1; }
[ "$(id -u)" = 0 ] || die "must run as root"
case $prefix in /?*) ;; *) die "--prefix must be an absolute path" ;; esac

ferry=$prefix/venv/bin/ferry
pods() { # the ids of the pods there are; fails where no daemon answers
  "$ferry" pods --json 2>/dev/null |
    "$prefix/venv/bin/python" -c 'import json, sys; print(*(pod["id"] for pod in json.load(sys.stdin)))'
}
stop_pods() {
  local left
  if ! left=$(pods 2>/dev/null); then
    [ -z "$(find "$state/pods" -mindepth 2 -maxdepth 2 2>/dev/null)" ] ||
      die "pods are there, and no daemon to stop them answers: systemctl start ferryd"
    return 0
  fi
  [ -n "$left" ] || return 0
  [ $purge = 1 ] || die "pods are there: $left (drain the node, or --purge removes them)"
  # shellcheck disable=SC2086 # ids
  "$ferry" rm $left
}
stop_daemon() {
  [ -d /run/systemd/system ] || return 0
  systemctl disable --quiet --now ferryd.service 2>/dev/null || true
  systemctl stop --quiet ferry-monitors.service ferry.slice 2>/dev/null || true
}
remove_network() { # the bridge and the table of host ports, which a daemon leaves to the next one
  [ -n "$bridge" ] || return 0
  ip link delete "$bridge" 2>/dev/null || true
  nft delete table inet "ferry-$bridge" 2>/dev/null || true
}
remove_files() {
  local name
  rm -f "$destdir"/etc/systemd/system/{ferryd,ferry-monitors}.service
  for name in ferry ferryd; do
    case $(readlink "$destdir/usr/local/bin/$name" || true) in
      "$prefix"/*) rm -f "$destdir/usr/local/bin/$name" ;;
    esac
  done
  cmp -s deploy/crictl.yaml "$destdir/etc/crictl.yaml" && rm -f "$destdir/etc/crictl.yaml"
  rm -f "$destdir/usr/share/bash-completion/completions/ferry"
  rm -rf "${prefix:?}"/{venv,venvs,bin,lib,bundle.txt,.installed-by,.lock}
  rmdir "$prefix" 2>/dev/null || true
}
remove_data() {
  rm -rf "$destdir/etc/ferry"
  [ -n "$destdir" ] || rm -rf --one-file-system "${root:?}"
}
configured() { # configured KEY: what the configuration says, or nothing
  "$prefix/venv/bin/ferryd" config dump 2>/dev/null | sed -n "s/^$1 = \"\(.*\)\"\$/\1/p"
}

if [ -z "$destdir" ]; then
  root=$(configured root) state=$(configured state) bridge=$(configured bridge)
  root=${root:-/var/lib/ferry} state=${state:-/run/ferry}
  stop_pods
  stop_daemon
  remove_network
  rm -rf --one-file-system "${state:?}"
fi
remove_files
[ $purge = 0 ] || remove_data
if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
[ $purge = 1 ] || say "kept $destdir/etc/ferry${root:+ and $root} (--purge removes them)"
