#!/usr/bin/env bash
# Runs the kubelet in a mount namespace where what it changes outside its own folders stays unseen:
#
#   unshare --mount --propagation unchanged e2e/kubelet/enter.sh SCRATCH COMMAND [ARG...]
#
# SCRATCH is an empty folder. Mounts below shared mount points, such as the kubelet's root, still
# reach the runtime and back, as they do on a node.
set -euo pipefail

scratch=$1
shift
mount --make-private /
mount --make-rprivate /proc

# Settings of the whole machine that a kubelet makes. They have their values already, in files.
while read -r name value; do
  echo "$value" >"$scratch/${name//\//.}"
  mount --bind "$scratch/${name//\//.}" "/proc/sys/$name"
done <<EOF
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
EOF

# Folders with fixed names: device plugins' sockets, links to logs.
for folder in /var/lib /var/log; do mount -t tmpfs tmpfs "$folder"; done
exec "$@"
