"""Refusing requests that can never work, by the name of the field.

A request is walked once along a plan, made once for each message type from the tables in `rules`.
Whatever a rule says, every string is without NUL and of a size the kernel takes as an argument,
and lists and maps stay below a bound.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cri.services import rules
from store.errors import InvalidArgumentError

MAX_STRING: Final = 128 * 1024 - 1
"""The longest single argument or environment string of a program (MAX_ARG_STRLEN)."""

MAX_MAP: Final = 1024 * 1024
"""Labels, annotations and the like: characters of all keys and values together."""

MAX_ITEMS: Final = 16 * 1024
"""Items of a list."""

Step = Callable[[Message, str], None]
"""Checks one field of a message that lies at a path (empty, or ending in a dot); raises."""


def check(request: Message) -> None:
    """Check a whole request.

    Raises:
        InvalidArgumentError: names the field by its path and says what it must be.
    """
    _walk(request, "")


def _walk(message: Message, at: str) -> None:
    for step in _plan(message.DESCRIPTOR):
        step(message, at)
    if found := rules.whole(message):
        field, problem = found
        raise InvalidArgumentError(f"{at}{field}: {problem}")


@functools.cache
def _plan(descriptor: Descriptor) -> tuple[Step, ...]:
    fields = (field for field in descriptor.fields if _key(field) not in rules.UNREAD)
    return tuple(step for field in fields if (step := _step(field)))


def _key(field: FieldDescriptor) -> str:
    owner = field.containing_type
    return f"{owner.name if owner else ''}.{field.name}"


def _step(field: FieldDescriptor) -> Step | None:
    """Return the check for a field, or None where any value will do."""
    required = _key(field) in rules.REQUIRED
    if _is_map(field):
        return _map_step(field)
    if field.is_repeated:
        return _list_step(field, required=required)
    if field.message_type:
        return _message_step(field.name, required=required)
    one = _value_check(field)
    return _value_step(field.name, one) if one else None


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return bool(field.is_repeated and kind and kind.GetOptions().map_entry)


Check = Callable[[object], str]
"""Says what is wrong with one value."""


def _value_check(field: FieldDescriptor) -> Check | None:
    if field.type == FieldDescriptor.TYPE_STRING:
        rule = rules.TEXT.get(_key(field)) or rules.IDS.get(field.name)
        return cast("Check", _text(rule or (lambda _: "")))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return cast("Check", _bounded)
    return cast("Check | None", rules.NUMBERS.get(_key(field)))


def _text(rule: Callable[[str], str]) -> Callable[[str], str]:
    return lambda value: rule(value) or _bounded(value)


def _bounded(value: str | bytes) -> str:
    if len(value) > MAX_STRING:
        return f"must have at most {MAX_STRING} bytes, not {len(value)}"
    nul = "\0" in value if isinstance(value, str) else b"\0" in value
    return "must not contain NUL" if nul else ""


def _value_step(name: str, one: Check) -> Step:
    def step(message: Message, at: str) -> None:
        if problem := one(getattr(message, name)):
            raise InvalidArgumentError(f"{at}{name}: {problem}")

    return step


def _message_step(name: str, *, required: bool) -> Step:
    def step(message: Message, at: str) -> None:
        if message.HasField(name):
            _walk(cast("Message", getattr(message, name)), f"{at}{name}.")
        elif required:
            raise InvalidArgumentError(f"{at}{name}: must be set")

    return step


def _list_step(field: FieldDescriptor, *, required: bool) -> Step:
    name, each = field.name, _item_check(field)

    def step(message: Message, at: str) -> None:
        items = cast("Sequence[object]", getattr(message, name))
        if required and not items:
            raise InvalidArgumentError(f"{at}{name}: must not be empty")
        if len(items) > MAX_ITEMS:
            raise InvalidArgumentError(f"{at}{name}: must have at most {MAX_ITEMS} items")
        for index, item in enumerate(items):
            each(item, f"{at}{name}[{index}]")

    return step


def _item_check(field: FieldDescriptor) -> Callable[[object, str], None]:
    one = _value_check(field)

    def each(item: object, at: str) -> None:
        if isinstance(item, Message):
            _walk(item, f"{at}.")
        elif one and (problem := one(item)):
            raise InvalidArgumentError(f"{at}: {problem}")

    return each


def _map_step(field: FieldDescriptor) -> Step:
    name, rule = field.name, rules.TEXT.get(_key(field))

    def step(message: Message, at: str) -> None:
        entries = cast("Mapping[str, str]", getattr(message, name))
        for key in entries:
            _check_entry(f"{at}{name}", key, entries[key], rule)
        _check_total(f"{at}{name}", entries.items())

    return step


def _check_entry(at: str, key: str, value: str, rule: Callable[[str], str] | None) -> None:
    problem = (rule(key) if rule else "") or _bounded(key) or ("" if key else "must not be empty")
    if problem := problem or ("must not contain NUL" if "\0" in value else ""):
        raise InvalidArgumentError(f"{at}[{key[:80]!r}]: {problem}")


def _check_total(at: str, entries: Iterable[tuple[str, str]]) -> None:
    total = sum(len(key) + len(value) for key, value in entries)
    if total > MAX_MAP:
        raise InvalidArgumentError(f"{at}: must have at most {MAX_MAP} characters, not {total}")
