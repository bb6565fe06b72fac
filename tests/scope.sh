#!/usr/bin/env bash
# Runs a command in mount, network, IPC, UTS and cgroup scopes of its own, so that a test run on a
# developer's machine or in CI leaves that machine as it found it.
#
#   tests/scope.sh COMMAND [ARG...]
#
# Inside: every mount is private to the scope and shared within it (as systemd sets a node up),
# /run is an empty tmpfs, loopback is up, and each cgroup v1 controller is mounted again so that its
# root is the scope's own cgroup. The unified part of a hybrid layout is unmounted, because crun
# refuses hybrid hierarchies (see README, "cgroup layouts"). The scope's cgroups go when it ends.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  [ "$(id -u)" = 0 ] || { echo "scope: needs root" >&2; exit 77; }
  name=ferry-scope-$$
  cgroups=()
  # A nested scope sees the outer one's cgroup as its root, so plain paths are right at any depth.
  while IFS=: read -r _ controllers _; do
    controller=${controllers#name=}
    directory=/sys/fs/cgroup/$controller
    [ -n "$controller" ] && [ -e "$directory/cgroup.procs" ] || continue
    mkdir "$directory/$name"
    cgroups+=("$directory/$name")
    if [ "$controller" = cpuset ]; then
      cat "$directory/cpuset.cpus" >"$directory/$name/cpuset.cpus"
      cat "$directory/cpuset.mems" >"$directory/$name/cpuset.mems"
    fi
  done </proc/self/cgroup
  leave() {
    for directory in "${cgroups[@]}"; do
      # Whatever a test left running ends with its scope.
      while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done < <(
        find "$directory" -name cgroup.procs -exec cat {} + 2>/dev/null)
    done
    for directory in "${cgroups[@]}"; do
      for _ in 1 2 3 4 5 6 7 8 9 10; do
        find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ -d "$directory" ] || break
        sleep 0.1
      done
    done
  }
  trap leave EXIT
  # The subshell joins the scope's cgroups; this shell stays outside to clear them.
  (
    for directory in "${cgroups[@]}"; do echo "$BASHPID" >"$directory/cgroup.procs"; done
    exec unshare --mount --net --ipc --uts --cgroup --propagation private -- "$0" --inside "$@"
  ) && code=0 || code=$?
  exit "$code"
fi

shift
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
for directory in /sys/fs/cgroup/*; do
  if mountpoint -q "$directory"; then
    controller=${directory##*/}
    case $controller in systemd) option=none,name=systemd ;; *) option=$controller ;; esac
    umount "$directory"
    mount -t cgroup -o "$option" cgroup "$directory"
  fi
done
ip link set lo up
exec "$@"
