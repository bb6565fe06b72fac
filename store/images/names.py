"""The images of each namespace, in memory: names grouped by image id, found by any of them.

Everything CRI asks is answered from here. What a name means is computed when it is put, not when
it is asked for.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from store.digest import Digest
from store.errors import InvalidArgumentError
from store.images import UnpackedImage, reference
from store.images.details import Details
from store.images.pins import Pins


@dataclass(slots=True)
class _Entry:
    """One image id: what it is, and every name that leads to it."""

    details: Details
    names: set[str] = field(default_factory=set)


class _Space:
    """One namespace."""

    def __init__(self) -> None:
        self.ids: dict[str, Digest] = {}
        self.entries: dict[Digest, _Entry] = {}
        self.images: dict[Digest, UnpackedImage] = {}


class Names:
    """An index of images by namespace. Values it gives out are made once and shared."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._spaces: defaultdict[str, _Space] = defaultdict(_Space)

    def __repr__(self) -> str:
        counts = {name: len(space.images) for name, space in self._spaces.items()}
        return f"<Names: {counts}>"

    def get(self, namespace: str, id_: Digest) -> UnpackedImage:
        """Return the image `id_`, which has a name."""
        return self._spaces[namespace].images[id_]

    def put(self, namespace: str, name: str, details: Details) -> None:
        """Let `name` lead to an image, whatever it led to before."""
        self.drop(namespace, name)
        space = self._spaces[namespace]
        entry = space.entries.setdefault(details.id, _Entry(details))
        entry.details = details
        entry.names.add(name)
        space.ids[name] = details.id
        self._refresh(space, details.id)

    def drop(self, namespace: str, name: str) -> None:
        """Forget a name; an image without names is gone."""
        space = self._spaces[namespace]
        id_ = space.ids.pop(name, None)
        if id_ is None:
            return
        space.entries[id_].names.discard(name)
        if space.entries[id_].names:
            self._refresh(space, id_)
        else:
            del space.entries[id_], space.images[id_]

    def repin(self, pins: Pins) -> None:
        """Take new patterns."""
        self._pins = pins
        for space in self._spaces.values():
            for id_ in space.entries:
                self._refresh(space, id_)

    def find(self, namespace: str, text: str) -> UnpackedImage | None:
        """Return the image by tag, digest reference or id; see `ImageReader.find`."""
        space = self._spaces.get(namespace, _Space())
        prefix = reference.id_prefix(text)
        if prefix is None or not _only_an_id(text):
            id_ = self._by_name(space, text, required=prefix is None)
            if id_ is not None:
                return space.images[id_]
        return _by_prefix(space, prefix) if prefix is not None else None

    def list(self, namespace: str) -> list[UnpackedImage]:
        """Return every image, sorted by id."""
        space = self._spaces.get(namespace, _Space())
        return [space.images[id_] for id_ in sorted(space.images)]

    def _by_name(self, space: _Space, text: str, *, required: bool) -> Digest | None:
        try:
            return space.ids.get(str(reference.parse(text)))
        except InvalidArgumentError:
            if required:
                raise
            return None

    def _refresh(self, space: _Space, id_: Digest) -> None:
        entry = space.entries[id_]
        names = tuple(sorted(entry.names))
        details = entry.details
        space.images[id_] = UnpackedImage(
            id=id_,
            names=names,
            repo_tags=tuple(name for name in names if "@" not in name),
            repo_digests=tuple(name for name in names if "@" in name),
            size=details.size,
            chain_id=details.chain_id,
            config=details.config.run,
            manifest=details.path[-1],
            pinned=self._pins.match(names),
        )


def _only_an_id(text: str) -> bool:
    """Tell whether `text` cannot be meant as a name, though the grammar might allow it."""
    return text.startswith("sha256:") or len(text) == 64


def _by_prefix(space: _Space, prefix: str) -> UnpackedImage | None:
    """Return the only image whose id begins so."""
    if len(prefix) == 64:
        return space.images.get(Digest(f"sha256:{prefix}"))
    found = [image for id_, image in space.images.items() if id_.startswith(f"sha256:{prefix}")]
    return found[0] if len(found) == 1 else None
