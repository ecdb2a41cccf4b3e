"""Where the services are and how to talk to them."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from searchmesh.errors import InvalidRequest
from searchmesh.retries import RetryPolicy
from searchmesh_common.call_context import CALLER_KEY, REQUEST_ID_KEY
from searchmesh_common.channels import Credentials, Target

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_ENCODER = "localhost:50051"
DEFAULT_SEARCH = "localhost:50052"

_AROUND_DOCUMENT_BYTES = 1024

_METADATA_NAME = re.compile(r"[\x21-\x7e]{0,128}")
_METADATA_VALUE = re.compile(r"[\x20-\x7e]+")


class Service(enum.StrEnum):
    """One of the mesh's two services."""

    ENCODER = "encoder"
    SEARCH = "search"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the services are and how to talk to them. Connects on the first call."""

    encoder: str = DEFAULT_ENCODER
    """The encoder's address: `host:port`, or `dns:///host:port` to balance over its replicas."""

    search: str = DEFAULT_SEARCH
    """The search service's address, likewise."""

    tls: bool = False
    """Whether to talk TLS. `ca`, `certificate` and `token` imply it."""

    ca: Path | None = None
    """PEM file with the authorities to trust. Default: the system's."""

    certificate: Path | None = None
    """PEM file with the caller's own certificate, for services that ask for one; with `key`."""

    key: Path | None = None
    """PEM file with its private key."""

    token: str | None = field(default=None, repr=False)
    """Bearer token that every call carries, in printable ASCII; only ever sent over TLS."""

    caller: str = ""
    """Names the calling system to the services, for fair sharing and logs: at most 128 visible
    ASCII characters."""

    timeout: float | None = None
    """Seconds that a call may take, retries included. Default: each method's own."""

    retries: RetryPolicy = field(default_factory=RetryPolicy)

    max_message_bytes: int = 64 * 1024 * 1024
    """Largest message sent or received, as the servers' setting of that name."""

    def __post_init__(self) -> None:
        if not _METADATA_NAME.fullmatch(self.caller):
            raise InvalidRequest.of("caller", "must be at most 128 visible ASCII characters")
        if self.token is not None and not _METADATA_VALUE.fullmatch(self.token):
            raise InvalidRequest.of(
                "token", "must be printable ASCII in one line: what else it holds cannot be sent"
            )
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequest.of("certificate", "is given together with its key")

    @property
    def most_document_bytes(self) -> int:
        """A larger document fits no message, with what is around it there."""
        return max(1, self.max_message_bytes - _AROUND_DOCUMENT_BYTES)

    def address(self, service: Service) -> str:
        return self.encoder if service is Service.ENCODER else self.search

    def target(self, service: Service) -> Target:
        """What the channel factory takes."""
        implied = (self.ca, self.certificate, self.token) != (None, None, None)
        credentials = Credentials(
            ca=self.ca, certificate=self.certificate, key=self.key, token=self.token
        )
        return Target(
            self.address(service),
            credentials if self.tls or implied else None,
            max_message_bytes=self.max_message_bytes,
            attempts=1,  # `retries` is in charge, and does as RetryInfo says
        )

    def metadata(self, request_id: str) -> tuple[tuple[str, str], ...]:
        """What every call carries beside its request."""
        carried = ((REQUEST_ID_KEY, request_id), (CALLER_KEY, self.caller))
        return tuple((key, value) for key, value in carried if value)
