"""Which pod or container people mean by what they write."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from cri.cli.output import short
from store.errors import InvalidArgumentError, NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Something that can be meant. `live` ones are preferred among those of the same name.

    `names` are those it goes by, the best to write last.
    """

    id: str
    names: tuple[str, ...]
    about: str
    live: bool = False


def pick(kind: str, wanted: str, candidates: Sequence[Candidate], listing: str) -> str:
    """Return the id that `wanted` means: a whole id, then a name, then the beginning of an id.

    Args:
        kind: what is looked for, for errors.
        wanted: what was written.
        candidates: all there are.
        listing: the command that lists them.

    Raises:
        NotFoundError: it means nothing; names what resembles it.
        InvalidArgumentError: it means several things; lists them.
    """
    found = _matches(wanted, candidates)
    if not found:
        hint = _resembling(wanted, candidates)
        raise NotFoundError(f"cannot find {kind} {wanted!r}: `{listing}` lists them{hint}")
    if len(found) > 1:
        listed = "\n".join(f"  {short(each.id)}  {each.names[-1]}  {each.about}" for each in found)
        raise InvalidArgumentError(
            f"cannot tell which {kind} {wanted!r} is; write the id of one of these:\n{listed}"
        )
    return found[0].id


def _matches(wanted: str, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    exact = [each for each in candidates if each.id == wanted]
    named = [each for each in candidates if wanted in each.names]
    live = [each for each in named if each.live]
    begun = [each for each in candidates if wanted and each.id.startswith(wanted)]
    return exact or (live if len(live) == 1 else named) or begun


def _resembling(wanted: str, candidates: Sequence[Candidate]) -> str:
    names = {name for each in candidates for name in each.names}
    close = difflib.get_close_matches(wanted, sorted(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""
