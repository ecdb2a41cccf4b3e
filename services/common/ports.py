"""The one place where a server gets a port, in the clear or over TLS."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Protocol

import grpc

if TYPE_CHECKING:
    from pathlib import Path

    from searchmesh_common.server_settings import ServerSettings


_METADATA_VALUE = re.compile(r"[\x20-\x7e]+")


class StartError(Exception):
    """A server cannot start; the message is one line for the person who started it."""


class _Server(Protocol):
    """What servers of both kinds offer."""

    def add_insecure_port(self, address: str) -> int: ...

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int: ...


def add_port(
    server: _Server, address: str, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Bind a server to host:port and return the port, also where 0 was asked for.

    Raises StartError where the address cannot be bound.
    """
    split_address(address)
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise StartError(
            f"cannot listen on {address}: is the port taken, and the address this machine's?"
        ) from error


def split_address(address: str) -> tuple[str, int]:
    """host:port apart; an IPv6 host stands in brackets. Raises StartError where it is neither."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65_535:
        raise StartError(f"{address!r} is not an address: it must be host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """What the settings say of TLS; None where gRPC is served in the clear.

    Raises StartError where a file cannot be read or is not what it should be.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    _check_pair(settings.tls_certificate, settings.tls_key)
    client_ca = _read(settings.tls_client_ca) if settings.tls_client_ca else None
    if settings.tls_client_ca:
        _check_authorities(settings.tls_client_ca)
    return grpc.ssl_server_credentials(
        [(_read(settings.tls_key), _read(settings.tls_certificate))],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )


def read_tokens(path: Path | None) -> frozenset[str] | None:
    """The bearer tokens that are accepted, one a line; None where callers need none.

    A line that begins with # is a comment.
    Raises StartError where the file cannot be read, holds no token, or one that no call can carry.
    """
    if path is None:
        return None
    try:
        lines = _read(path).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise StartError(f"{path} is not a text file in UTF-8") from error
    tokens = set()
    for number, line in enumerate(lines, 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not _METADATA_VALUE.fullmatch(token):
            raise StartError(f"{path}: the token in line {number} is not printable ASCII")
        tokens.add(token)
    if not tokens:
        raise StartError(f"{path} holds no token")
    return frozenset(tokens)


def _check_pair(certificate: Path, key: Path) -> None:
    # gRPC would only say that it cannot bind the port, and write the reason to its own log
    for path in (certificate, key):
        _read(path)
    try:
        # the password is asked for at the terminal where none is given
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise StartError(
            f"tls_certificate={certificate} and tls_key={key} are not a PEM certificate and its"
            f" key: {error}"
        ) from error


def _check_authorities(client_ca: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(client_ca)
    except ssl.SSLError as error:
        raise StartError(
            f"tls_client_ca={client_ca} holds no authority's certificate in PEM: {error}"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from error
