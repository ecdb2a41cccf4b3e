"""What every service of the mesh can be told; each service's own settings inherit from it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - read at run time, to parse variables

from searchmesh_common.settings import SettingsConflictError, setting


class LogLevel(enum.Enum):
    """The least severe log line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.Enum):
    """How a log line is written."""

    JSON = "json"
    """One JSON object a line, for a log collector."""
    CONSOLE = "console"
    """For a person at a terminal."""


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What every service of the mesh can be told; each service's own settings inherit from it."""

    listen: str = "127.0.0.1:0"
    """Address that serves gRPC, as host:port. Port 0 takes a free one, [::] or 0.0.0.0 every
    interface."""

    metrics_listen: str = "127.0.0.1:0"
    """Address that serves Prometheus metrics over HTTP at /metrics, as host:port. Empty: not
    served."""

    health_listen: str = "127.0.0.1:0"
    """Address that serves grpc.health.v1 alone, without TLS and on a thread of its own, for probes.
    Empty: not served."""

    stall_seconds: float = field(default=30.0, metadata=setting(minimum=0.1, maximum=3600))
    """Time without a turn of the event loop, in seconds, after which the health port answers
    NOT_SERVING: a liveness probe then restarts a process that hangs."""

    tls_certificate: Path | None = None
    """PEM file with the server's certificate and its chain. With it gRPC is served over TLS
    only."""

    tls_key: Path | None = None
    """PEM file with the certificate's private key."""

    tls_client_ca: Path | None = None
    """PEM file with the authorities whose client certificates are accepted. With it every caller
    needs one."""

    tokens_file: Path | None = None
    """File with the accepted bearer tokens, one a line; lines that begin with # are comments. With
    it every call but health needs `authorization: Bearer TOKEN`. Read at the start."""

    max_message_bytes: int = field(
        default=64 * 1024 * 1024, metadata=setting(minimum=64 * 1024, maximum=2**31 - 1)
    )
    """Largest message received or sent, in bytes. A larger one is refused with
    RESOURCE_EXHAUSTED."""

    default_deadline_seconds: float = field(
        default=30.0, metadata=setting(minimum=0.001, maximum=86_400)
    )
    """Deadline of a unary call that brings none, in seconds. Streams have only the caller's own."""

    drain_seconds: float = field(default=1.0, metadata=setting(minimum=0, maximum=600))
    """Time from SIGTERM, when health turns NOT_SERVING, to refusing new calls, in seconds:
    balancers look away meanwhile."""

    stream_grace_seconds: float = field(default=5.0, metadata=setting(minimum=0, maximum=3600))
    """Time that open streams get after new calls are refused, in seconds; then they end UNAVAILABLE
    and their clients open them elsewhere."""

    grace_seconds: float = field(default=20.0, metadata=setting(minimum=0, maximum=3600))
    """Time that calls in flight get to finish after new calls are refused, in seconds; then they
    are cut."""

    max_connection_age_seconds: int = field(
        default=300, metadata=setting(minimum=1, maximum=86_400)
    )
    """Age at which a connection is told to make way for a new one, in seconds, so that callers find
    new replicas."""

    max_connection_age_grace_seconds: int = field(
        default=300, metadata=setting(minimum=1, maximum=86_400)
    )
    """Time that calls on an aged connection get to finish, in seconds."""

    keepalive_seconds: int = field(default=30, metadata=setting(minimum=10, maximum=7200))
    """Silence after which the server asks whether a caller still lives, in seconds."""

    keepalive_timeout_seconds: int = field(default=10, metadata=setting(minimum=1, maximum=600))
    """Time in which that must be answered before the connection is given up, in seconds."""

    reflection: bool = True
    """Whether callers may ask the server for its contract (grpcurl does)."""

    channelz: bool = True
    """Whether callers may ask the server about its connections (grpc.channelz.v1)."""

    log_level: LogLevel = LogLevel.INFO
    """The least severe log line that is written."""

    log_format: LogFormat = LogFormat.JSON
    """How log lines are written to standard error."""

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsConflictError(
                "{} and {} are given together or not at all", "tls_certificate", "tls_key"
            )
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise SettingsConflictError(
                "{} needs {} and {}", "tls_client_ca", "tls_certificate", "tls_key"
            )
