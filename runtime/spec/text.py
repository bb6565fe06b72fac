"""Text that ends up in an OCI spec: what JSON and execve(2) can both carry."""

import posixpath

from store.errors import InvalidArgumentError


def checked(field: str, value: str) -> str:
    """Return `value`; `field` is its name in errors.

    Raises:
        InvalidArgumentError: it holds NUL, which ends a C string, or is not Unicode text.
    """
    if "\0" in value:
        raise InvalidArgumentError(f"cannot use {field} {value!r}: it contains NUL")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"cannot use {field} {value!r}: not UTF-8") from None
    return value


def absolute(field: str, path: str) -> str:
    """Return the path without `.`, `..`, doubled and trailing slashes; `..` stops at the root.

    Raises:
        InvalidArgumentError: it is relative or not text.
    """
    if not checked(field, path).startswith("/"):
        raise InvalidArgumentError(f"cannot use {field} {path!r}: must be an absolute path")
    return posixpath.normpath("/" + path.lstrip("/"))
