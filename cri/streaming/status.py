"""How a session ended, as its client's error stream says it.

From version 4 on it is a metav1.Status as JSON, which carries the exit code; before, plain text,
and nothing at all on success.
"""

import json
from dataclasses import dataclass
from typing import Final

_FAILED: Final = 500


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

    def _status(self) -> dict[str, object]:
        if not self.message:
            return {"metadata": {}, "status": "Success"}
        failure = {"metadata": {}, "status": "Failure", "message": self.message}
        if self.error:
            return {**failure, "reason": "InternalError", "code": _FAILED}
        cause = {"reason": "ExitCode", "message": str(self.code)}
        return {**failure, "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
