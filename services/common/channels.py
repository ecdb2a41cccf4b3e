"""The one channel factory: balancing, retries, health, keepalive, sizes and credentials.

    channel = aio_channel(Target("dns:///encoder:50051", health_service="…EncoderService"))

Needs only what a caller has installed.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEEPALIVE_SECONDS = 30
"""Silence after which a client with a call in flight asks whether the server still lives."""

SERVER_MIN_PING_SECONDS = 15
"""A server takes offence at clients that ask more often; well below what ours do."""

_KEEPALIVE_TIMEOUT_SECONDS = 10
_RECONNECT_MOST_SECONDS = 5
_DNS_FLOOR_SECONDS = 5

_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    # the call did not happen, or may happen again: mutations carry a request_id.
    # CANCELLED is what a stopping server makes of calls that it had not begun
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}
# one failed call in ten may be retried for long; when more fail, retries stop making it worse
_RETRY_THROTTLING = {"maxTokens": 10, "tokenRatio": 0.1}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """How a client proves who it is and who it believes to talk to; all of it needs TLS."""

    ca: Path | None = None
    """PEM file with the authorities to trust; the system's where there is none."""

    certificate: Path | None = None
    """PEM file with the client's own certificate, where the server asks for one."""

    key: Path | None = None
    """PEM file with its private key."""

    token: str | None = None
    """Bearer token that every call carries."""

    server_name: str | None = None
    """The name to expect in the server's certificate, where it differs from the target's."""


@dataclass(frozen=True)
class Target:
    """A service to talk to, and how."""

    address: str
    """As gRPC takes it: `host:port`, or `dns:///host:port` to balance over all behind the name."""

    credentials: Credentials | None = None
    """None: in the clear."""

    health_service: str | None = None
    """With it, servers that report this name as NOT_SERVING get no calls."""

    max_message_bytes: int = 64 * 1024 * 1024
    """Largest message sent or received; as the server's setting of that name."""

    retries: bool = True
    """Whether the channel repeats calls that a server answered UNAVAILABLE. False where the caller
    does, who may listen to RetryInfo; what never reached a server is repeated all the same."""


def aio_channel(
    target: Target, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()
) -> grpc.aio.Channel:
    """A channel for asyncio; to be made where its event loop runs, and closed by whoever made it.

    Raises OSError where a file of the credentials cannot be read, or is not what it should be.
    """
    options = _options(target)
    if target.credentials is None:
        return grpc.aio.insecure_channel(target.address, options, interceptors=list(interceptors))
    credentials = _channel_credentials(target.credentials)
    return grpc.aio.secure_channel(
        target.address, credentials, options, interceptors=list(interceptors)
    )


def channel(target: Target) -> grpc.Channel:
    """A channel for blocking calls from any thread; closed by whoever made it.

    Raises OSError where a file of the credentials cannot be read, or is not what it should be.
    """
    options = _options(target)
    if target.credentials is None:
        return grpc.insecure_channel(target.address, options)
    return grpc.secure_channel(target.address, _channel_credentials(target.credentials), options)


def _options(target: Target) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(_service_config(target))),
        ("grpc.max_send_message_length", target.max_message_bytes),
        ("grpc.max_receive_message_length", target.max_message_bytes),
        # a request larger than this buffer, 256 KiB by default, is never retried
        ("grpc.per_rpc_retry_buffer_size", target.max_message_bytes),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_SECONDS * 1000),
        # the default, 30 s, is how long a new replica would go unseen
        ("grpc.dns_min_time_between_resolutions_ms", _DNS_FLOOR_SECONDS * 1000),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MOST_SECONDS * 1000),
    ]
    if target.credentials and target.credentials.server_name:
        options.append(("grpc.ssl_target_name_override", target.credentials.server_name))
    return options


def _service_config(target: Target) -> dict[str, Any]:
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if target.retries:
        config["methodConfig"] = [{"name": [{}], "retryPolicy": _RETRY_POLICY}]
        config["retryThrottling"] = _RETRY_THROTTLING
    if target.health_service is not None:
        config["healthCheckConfig"] = {"serviceName": target.health_service}
    return config


def _channel_credentials(credentials: Credentials) -> grpc.ChannelCredentials:
    _check_files(credentials)
    tls = grpc.ssl_channel_credentials(
        _read(credentials.ca), _read(credentials.key), _read(credentials.certificate)
    )
    if credentials.token is None:
        return tls
    token = grpc.access_token_call_credentials(credentials.token)
    return grpc.composite_channel_credentials(tls, token)


def _check_files(credentials: Credentials) -> None:
    # gRPC would only find that it cannot connect, and write the reason to its own log
    for path in (credentials.ca, credentials.certificate, credentials.key):
        _read(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if credentials.ca:
            context.load_verify_locations(credentials.ca)
    except ssl.SSLError as error:
        raise OSError(f"{credentials.ca} holds no authority's certificate in PEM") from error
    try:
        if credentials.certificate and credentials.key:
            # the password is asked for at the terminal where none is given
            context.load_cert_chain(credentials.certificate, credentials.key, password="")
    except ssl.SSLError as error:
        raise OSError(
            f"{credentials.certificate} and {credentials.key} are not a PEM certificate and its key"
        ) from error


def _read(path: Path | None) -> bytes | None:
    return path.read_bytes() if path else None
