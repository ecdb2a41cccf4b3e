"""What to do about an error, where its own words do not say it."""

from __future__ import annotations

from searchmesh.errors import Unauthenticated, Unreachable
from searchmesh.local import is_free

_TOKEN = "Give a token: --token-file FILE, or the variable SEARCHMESH_TOKEN."  # noqa: S105
_START = "`searchmesh up` starts both services on this machine."
_PLAIN = "What listens there talks no TLS, and this connection asks for it."
_UNTRUSTED = "The server's certificate is of no authority that is trusted: name one with --ca FILE."
_TLS = (
    "Where the services talk TLS, give --tls or --ca FILE; where they ask for certificates,"
    " --certificate FILE --key FILE too."
)
_HUNG_UP = ("Socket closed", "Connection reset", "Broken pipe")


def hint_of(error: Exception) -> str:
    """A sentence, or nothing where there is none to say."""
    match error:
        case Unauthenticated():
            return _TOKEN
        case Unreachable():
            return _of_connection(error.message, error.address)
    return ""


def _of_connection(message: str, address: str) -> str:
    """By what gRPC says of the connection that failed."""
    if "WRONG_VERSION_NUMBER" in message:
        return _PLAIN
    if "CERTIFICATE_VERIFY_FAILED" in message:
        return _UNTRUSTED
    if is_free(address):
        return _START
    # localhost is two addresses, and what is said may be of the one where nothing listens
    refused = address.startswith("localhost:") and "Connection refused" in message
    return _TLS if refused or any(said in message for said in _HUNG_UP) else ""
