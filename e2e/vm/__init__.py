"""A second kind of node: Debian 13 with systemd and cgroup v2, in a machine emulated by QEMU.

`python -m e2e.vm` (`make e2e-vm`) builds the machine's disk from the distribution's packages
(`disk`), installs this source tree on it, boots it (`machine`), runs the tests of `e2e/node` inside
and shuts it down. It needs root, qemu-system-x86, debootstrap and a network for the first build,
and skips with the reason where they are missing. Without KVM everything in the machine is some ten
times slower.

`agent` is the machine's end of the wire: it runs the commands that `machine` sends.
"""
