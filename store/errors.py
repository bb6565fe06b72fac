"""What can go wrong, one class for each thing a caller can do about it.

Every layer raises these; `cri/errors.py` turns them into gRPC codes in one table. Foreign
exceptions are mapped where they enter, never at the edge. A message says "cannot X: why" and
carries the path or id it is about.
"""


class Error(Exception):
    """Something failed inside ferry; the caller cannot mend it by asking differently."""


class InvalidArgumentError(Error):
    """The request can never work: ask differently. The message names the field."""


class NotFoundError(Error):
    """The named thing is not there."""


class AlreadyExistsError(Error):
    """The name is taken by something that is not what was asked for."""


class FailedPreconditionError(Error):
    """The thing is there, in a state in which this cannot be done; change the state first."""


class PermissionDeniedError(Error):
    """The remote side, the kernel or the configuration refuses; credentials may mend it."""


class ResourceExhaustedError(Error):
    """A limit is reached (space, addresses, tokens); free some and try again."""


class UnavailableError(Error):
    """A part ferry needs does not answer now; the same request may work later."""


class DeadlineExceededError(Error):
    """Time ran out; the message says in which stage, for how long, on what."""


class DataLossError(Error):
    """Stored or received bytes are not what their digest or their format promises."""


class UnimplementedError(Error):
    """This build, handler or kernel cannot do it at all."""
