"""The kubelet's program, built from the Go module in `module/`."""

import re
from pathlib import Path

from e2e.golang import Programs


def kubelet() -> Programs:
    """Return what builds the kubelet, with its version in it as a release has it."""
    module = Path(__file__).parent / "module"
    found = re.search(r"k8s\.io/kubernetes v((\d+)\.(\d+)\.\d+)", (module / "go.mod").read_text())
    assert found, "go.mod names no kubernetes"
    values = {"gitVersion": f"v{found[1]}", "gitMajor": found[2], "gitMinor": found[3]}
    flags = [f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items()]
    return Programs(name="kubelet", module=module, ldflags=" ".join(["-s -w", *flags]))
