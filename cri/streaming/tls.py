"""The streaming server's certificates."""

import logging
import ssl
from pathlib import Path

from cri.config import Streaming
from store.errors import InvalidArgumentError

_log = logging.getLogger(__name__)


class Certificates:
    """A TLS context whose files can be read again when they have been renewed.

    Args:
        certificate: a PEM file with the chain.
        key: a PEM file with the key.
        client_authority: PEM certificates of which one must have signed the client's; None lets
            every client in, who then has only a token.

    Raises:
        InvalidArgumentError: a file cannot be read, or key and certificate do not fit.
    """

    def __init__(self, certificate: Path, key: Path, client_authority: Path | None = None) -> None:
        self._certificate = certificate
        self._key = key
        self._client_authority = client_authority
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        if client_authority is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.reload()

    def reload(self) -> None:
        """Use the files as they are now for every client that comes from now on.

        Raises:
            InvalidArgumentError: as on construction; the old ones then stay in use.
        """
        trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for context in (trial, self.context):
            try:
                context.load_cert_chain(self._certificate, self._key)
                if self._client_authority is not None:
                    context.load_verify_locations(self._client_authority)
            except OSError as error:  # ssl.SSLError is one
                raise InvalidArgumentError(
                    f"cannot use TLS for streaming: {self._certificate}, {self._key}"
                    f"{f', {self._client_authority}' if self._client_authority else ''}: {error}"
                ) from error

    def renew(self) -> None:
        """Read the files again; if they cannot be used, say so and go on with the old ones."""
        try:
            self.reload()
        except InvalidArgumentError as error:
            _log.error("the old certificates stay: %s", error)


def configured(config: Streaming) -> Certificates | None:
    """Return what the configuration asks for; None for plain HTTP.

    Raises:
        InvalidArgumentError: it asks for half of it, or for what cannot be used.
    """
    if not (config.certificate or config.key or config.client_authority):
        return None
    if not (config.certificate and config.key):
        raise InvalidArgumentError(
            "cannot use TLS for streaming: streaming.certificate and streaming.key belong together"
        )
    authority = Path(config.client_authority) if config.client_authority else None
    return Certificates(Path(config.certificate), Path(config.key), authority)
