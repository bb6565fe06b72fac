#!/usr/bin/env bash
# Runs a command in mount, network, IPC, UTS and cgroup scopes of its own, so that a test run on a
# developer's machine or in CI leaves that machine as it found it.
#
#   tests/scope.sh COMMAND [ARG...]
#
# Inside: every mount is private to the scope and shared within it (as systemd sets a node up),
# /run is an empty tmpfs, loopback is up, and the cgroup hierarchies are mounted again so that their
# roots are the scope's own cgroups. The unified part of a hybrid layout is unmounted, because crun
# refuses hybrid hierarchies (see README, "cgroup layouts"). The scope's cgroups go when it ends,
# with every process left in them; what the command orphans is reaped at once. FERRY_SCOPE=1 tells the
# command where it is.
set -euo pipefail

name=ferry-scope-$$

# A nested scope sees the outer one's cgroup as its root, so plain paths are right at any depth.
make_v1_cgroups() {
  local controllers directory
  while IFS=: read -r _ controllers _; do
    directory=/sys/fs/cgroup/${controllers#name=}
    if [ -z "$controllers" ] || [ ! -e "$directory/cgroup.procs" ]; then continue; fi
    mkdir "$directory/$name"
    cgroups+=("$directory/$name")
    if [ -e "$directory/cpuset.cpus" ]; then
      cat "$directory/cpuset.cpus" >"$directory/$name/cpuset.cpus"
      cat "$directory/cpuset.mems" >"$directory/$name/cpuset.mems"
    fi
  done </proc/self/cgroup
}
# On cgroup v2 a cgroup with processes cannot give controllers to its children, so the scope is made
# in the nearest ancestor that already does, which is where systemd or a nested scope's root has it.
make_v2_cgroup() {
  local directory=/sys/fs/cgroup
  directory+=$(sed -n 's/^0:://p' /proc/self/cgroup)
  while [ "$directory" != /sys/fs/cgroup ] && [ -z "$(cat "$directory/cgroup.subtree_control")" ]; do
    directory=${directory%/*}
    directory=${directory%/}
  done
  mkdir "$directory/$name"
  cgroups+=("$directory/$name")
}
processes_left() { find "${cgroups[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null || true; }
# shellcheck disable=SC2317 # called by the trap
leave() {
  local directory pid
  [ ${#cgroups[@]} -gt 0 ] || return 0
  for pid in $(processes_left); do kill -KILL "$pid" 2>/dev/null || true; done
  for directory in "${cgroups[@]}"; do
    for _ in {1..50}; do
      find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ -d "$directory" ] || break
      sleep 0.02
    done
  done
}

if [ "${1:-}" != --inside ]; then
  [ $# -gt 0 ] || { echo "usage: scope.sh COMMAND [ARG...]" >&2; exit 2; }
  [ "$(id -u)" = 0 ] || { echo "scope: needs root" >&2; exit 77; }
  cgroups=()
  trap leave EXIT
  if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then make_v2_cgroup; else make_v1_cgroups; fi
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
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
  umount /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  # The command runs one level down, as a daemon does below systemd: the root stays free to give
  # its controllers to what the command makes.
  mkdir /sys/fs/cgroup/command
  echo $$ >/sys/fs/cgroup/command/cgroup.procs
  sed 's/[a-z_]\{1,\}/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
else
  # On a tmpfs of its own: crun makes plain directories where the unified part would be, which would
  # stay on the machine's. It also keeps the unified part out.
  mapfile -t controllers < <(cd /sys/fs/cgroup && find . -mindepth 1 -maxdepth 1 -type d -printf '%f\n')
  umount --recursive /sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for controller in "${controllers[@]}"; do
    case $controller in
      unified) continue ;;
      systemd) option=none,name=systemd ;;
      *) option=$controller ;;
    esac
    mkdir "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$option" cgroup "/sys/fs/cgroup/$controller" ||
      rmdir "/sys/fs/cgroup/$controller"
  done
fi
ip link set lo up
FERRY_SCOPE=1 exec python3 "$(dirname "$0")/reaper.py" "$@"
