"""Build the kubelet where it is missing, or say why it is not: `python -m e2e.kubelet`."""

import sys

from e2e.golang import GoError
from e2e.kubelet.build import kubelet


def main() -> int:
    """Build it."""
    programs = kubelet()
    if reason := programs.why_not():
        print(f"kubelet: skipped: {reason}")
        return 0
    try:
        programs.build()
    except GoError as error:
        sys.stderr.write(f"kubelet: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
