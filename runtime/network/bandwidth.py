"""How fast a pod may receive and send: the annotations that Kubernetes has for it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from store.errors import InvalidArgumentError

INGRESS: Final = "kubernetes.io/ingress-bandwidth"
EGRESS: Final = "kubernetes.io/egress-bandwidth"

_QUANTITY: Final = re.compile(
    r"\+?(?P<number>\d{1,30}\.?\d{0,30}|\.\d{1,30})"
    r"(?:[eE](?P<exponent>[+-]?\d{1,3})|(?P<suffix>[KMGTPE]i|[numkMGTPE])?)",
    re.ASCII,
)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
# What the kubelet took when it did this itself.
_LEAST: Final = 10**3
_MOST: Final = 10**15
# What may pass at once: a tenth of a second's worth, and at least two full segments of offloading.
_BURST_PART: Final = 10
_LEAST_BURST: Final = 8 * (128 << 10)
_MOST_BURST: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Limits in bits per second, 0 for none. `ingress` is what the pod receives."""

    ingress: int = 0
    egress: int = 0


def burst(rate: int) -> int:
    """Return how many bits may pass at once under a limit."""
    return min(max(rate // _BURST_PART, _LEAST_BURST), _MOST_BURST)


def parse_bandwidth(annotations: Mapping[str, str]) -> Bandwidth:
    """Return the limits that a pod's annotations ask for.

    Raises:
        InvalidArgumentError: one is no quantity between 1k and 1P; names it.
    """
    return Bandwidth(ingress=_rate(annotations, INGRESS), egress=_rate(annotations, EGRESS))


def _rate(annotations: Mapping[str, str], name: str) -> int:
    text = annotations.get(name)
    if text is None:
        return 0
    value = _quantity(text)
    if value is None or not _LEAST <= value <= _MOST:
        raise InvalidArgumentError(
            f"cannot use annotation {name}: {text[:80]!r} is no quantity of bits per second from "
            "1k to 1P"
        )
    return int(value)


def _quantity(text: str) -> Decimal | None:
    """Read a quantity as Kubernetes writes them: `10M`, `1.5Gi`, `2e6`."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix = Decimal(match["number"]), match["suffix"] or ""
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    exponent = int(match["exponent"]) if match["exponent"] else 18 if suffix == "E" else None
    return number.scaleb(_DECIMAL[suffix] if exponent is None else exponent)
