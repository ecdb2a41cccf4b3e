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

SERVER_MIN_PING_SECONDS = 5
"""A server closes the connections of clients that ask more often whether it lives; below every
keepalive that a client of ours can be told."""

_KEEPALIVE_TIMEOUT_SECONDS = 10
_RECONNECT_MOST_SECONDS = 5

_RETRY_POLICY = {
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    # the call did not happen, or may happen again: mutations carry a request_id.
    # CANCELLED is what a stopping server makes of calls that it had not begun
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}
# a failure costs a token and a success brings one; below half of them nothing is retried. So a
# server that dies may take 500 calls with it, and all of them are made again, but where most calls
# fail for long, retries stop making it worse. gRPC takes no more tokens
_RETRY_THROTTLING = {"maxTokens": 1000, "tokenRatio": 1}


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

    attempts: int = 4
    """How often a call is made in all that servers answer UNAVAILABLE or take along when they die;
    gRPC allows 5. 1 where the caller repeats calls, who may listen to RetryInfo; what never reached
    a server is repeated all the same."""

    keepalive_seconds: float = 30.0
    """Silence after which a server is asked whether it still lives while calls are in flight, the
    watch of its health among them."""

    resolve_seconds: float = 5.0
    """Least time from one look at the name's addresses to the next. gRPC looks when a connection
    ends; its own default, 30 s, is how long a new replica would go unseen then."""


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
        ("grpc.keepalive_time_ms", round(target.keepalive_seconds * 1000)),
        # by default gRPC asks twice, then once a minute, until it has something to send
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.dns_min_time_between_resolutions_ms", round(target.resolve_seconds * 1000)),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MOST_SECONDS * 1000),
    ]
    if target.credentials and target.credentials.server_name:
        options.append(("grpc.ssl_target_name_override", target.credentials.server_name))
    return options


def _service_config(target: Target) -> dict[str, Any]:
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if target.attempts > 1:
        policy = {**_RETRY_POLICY, "maxAttempts": target.attempts}
        config["methodConfig"] = [{"name": [{}], "retryPolicy": policy}]
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
