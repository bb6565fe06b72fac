"""Which images are never removed: patterns in the configuration, as CRI-O's users write them."""

from collections.abc import Iterable

from store.errors import InvalidArgumentError
from store.images import reference


class Pins:
    """Patterns for image names: exact, `prefix*`, or `*keyword*`.

    An exact one may be written as people write references: `pause:3.10` pins
    `docker.io/library/pause:3.10`.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._exact: set[str] = set()
        self._prefixes: list[str] = []
        self._keywords: list[str] = []
        for pattern in patterns:
            self._add(pattern)

    def match(self, names: Iterable[str]) -> bool:
        """Tell whether any of an image's names is pinned."""
        return any(self._matches(name) for name in names)

    def _add(self, pattern: str) -> None:
        inner = pattern.strip("*")
        if not inner or "*" in inner or pattern.startswith("*") > pattern.endswith("*"):
            raise InvalidArgumentError(
                f"cannot pin {pattern!r}: want a name, a prefix as in 'x*', or a part as in '*x*'"
            )
        if pattern.startswith("*"):
            self._keywords.append(inner)
        elif pattern.endswith("*"):
            self._prefixes.append(inner)
        else:
            self._exact.add(str(reference.parse(pattern)))

    def _matches(self, name: str) -> bool:
        return (
            name in self._exact
            or name.startswith(tuple(self._prefixes))
            or any(keyword in name for keyword in self._keywords)
        )
