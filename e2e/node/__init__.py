"""ferry as it is installed: systemd's service on a node of its own, with cgroup v2.

These tests take a whole machine: they restart its `ferryd.service`, change its configuration and at
last uninstall it. They run where `FERRY_NODE` names the folder of a registry's files (`make
e2e-vm` boots such a machine) and skip elsewhere.
"""
