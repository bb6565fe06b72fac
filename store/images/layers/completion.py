"""The second pass over a layer: what needs the layers below it, or more rights than the cage has.

It runs in the daemon, with all of its rights, over trees that an image brought; see `upper` for
how it keeps inside of them.
"""

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from store.errors import DataLossError, Error
from store.images import Unfinished
from store.images.layers import beneath, shown
from store.images.layers.merged import Merged
from store.images.layers.moves import Moves
from store.images.layers.tree import is_whiteout
from store.images.layers.upper import Upper


def complete(unfinished: Unfinished, target: Path, lowers: Sequence[Path]) -> None:
    """Finish the layer in `target`, on `lowers` (topmost first); blocks.

    Raises:
        DataLossError: a hard link's target is nowhere, or not a file.
        Error: the file system refuses.
    """
    visible = () if b"" in unfinished.opaque else lowers
    try:
        with Merged.opened((target,)) as own, Merged.opened(visible) as below:
            upper = Upper(own.layers[0], below)
            if b"" in unfinished.opaque:
                _hide_root(upper, lowers)
            _finish(upper, unfinished)
    except OSError as error:
        raise Error(f"cannot complete the layer in {target}: {error}") from error


def _hide_root(upper: Upper, lowers: Sequence[Path]) -> None:
    """Hide the names in the root one by one: overlayfs does not heed an opaque root."""
    with Merged.opened(lowers) as hidden:
        for name in hidden.names():
            upper.hide(name)


def _finish(upper: Upper, unfinished: Unfinished) -> None:
    moves = Moves(upper)
    moves.follow(unfinished.implied)
    for path in unfinished.opaque:
        if path:
            upper.mark_opaque(moves.now(path))
    for path in unfinished.hidden:
        upper.drop_needless_whiteout(moves.now(path))
    for name, target in unfinished.links:
        try:
            _link(upper, moves.now(name), moves.now(target))
        except DataLossError as error:
            raise DataLossError(f"cannot unpack entry {shown(name)}: {error}") from None
    for path in unfinished.implied:
        if moves.now(path) not in moves.merged:
            upper.dress(moves.now(path))


def _link(upper: Upper, name: bytes, target: bytes) -> None:
    here = beneath.look(upper.fd, target)
    if here is None:
        here = upper.copy_up(target)
    if name == target:
        return
    if is_whiteout(here) or not stat.S_ISREG(here.st_mode):
        raise DataLossError(f"a hard link to {shown(target)}, which is no file")
    with upper.parent(target) as (source, old), upper.parent(name) as (parent, new):
        with contextlib.suppress(FileNotFoundError):
            # Another link's target, copied up: the later entry counts.
            os.unlink(new, dir_fd=parent)
        os.link(old, new, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
