"""How a session ended, as its client's error stream says it.

From version 4 on it is a metav1.Status as JSON, which carries the exit code; before, plain text,
and nothing at all on success.
"""

import json
from dataclasses import dataclass
from typing import Final, Self

import msgspec

from cri.streaming import ProtocolError

_FAILED: Final = 500
_NONZERO: Final = "NonZeroExitCode"


class _Cause(msgspec.Struct):
    message: str = ""


class _Details(msgspec.Struct):
    causes: list[_Cause] = []


class _Status(msgspec.Struct):
    """What we read of a metav1.Status."""

    status: str
    message: str = ""
    reason: str = ""
    details: _Details = msgspec.field(default_factory=_Details)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An exit code, or why there is none."""

    code: int = 0
    error: str = ""

    @property
    def message(self) -> str:
        """Say what went wrong; empty if nothing did."""
        if self.error:
            return self.error
        return f"command terminated with non-zero exit code: {self.code}" if self.code else ""

    def text(self) -> bytes:
        """Return it as versions 1 to 3 have it."""
        return self.message.encode()

    def status(self) -> bytes:
        """Return it as versions 4 and 5 have it."""
        return json.dumps(self._status()).encode()

    @classmethod
    def read(cls, status: bytes) -> Self:
        """Read what `status` wrote, or another server of Kubernetes.

        Raises:
            ProtocolError: it is none.
        """
        try:
            found = msgspec.json.decode(status, type=_Status)
            if found.status == "Success":
                return cls()
            if found.reason == _NONZERO:
                return cls(code=int(found.details.causes[0].message))
        except (msgspec.MsgspecError, ValueError, IndexError) as error:
            raise ProtocolError(f"cannot read how the session ended: {error}") from error
        return cls(error=found.message or found.reason)

    def _status(self) -> dict[str, object]:
        if not self.message:
            return {"metadata": {}, "status": "Success"}
        failure = {"metadata": {}, "status": "Failure", "message": self.message}
        if self.error:
            return {**failure, "reason": "InternalError", "code": _FAILED}
        cause = {"reason": "ExitCode", "message": str(self.code)}
        return {**failure, "reason": _NONZERO, "details": {"causes": [cause]}}
