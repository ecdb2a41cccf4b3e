"""Write tokens: what a write answers, and what a read takes as `read_after` to see that write."""

from __future__ import annotations

import base64
import binascii
import zlib

from searchmesh_common.errors import InvalidRequest

_CHECK_BYTES = 4


def encode(engine_token: bytes) -> str:
    """The token of a write; `engine_token` may be empty, where the journal alone was written."""
    return base64.urlsafe_b64encode(_check(engine_token) + engine_token).decode()


def decode(token: str) -> bytes:
    """The engine's token, empty for none. Raises InvalidRequest for what no write has answered."""
    if not token:
        return b""
    try:
        raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeError):
        raise _foreign() from None
    check, engine_token = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    if check != _check(engine_token):
        raise _foreign()
    return engine_token


def _check(engine_token: bytes) -> bytes:
    return zlib.crc32(engine_token, 0x5EA2C4).to_bytes(_CHECK_BYTES, "big")


def _foreign() -> InvalidRequest:
    return InvalidRequest.of(
        "read_after", "not a write_token; pass the one of a write unchanged, or leave it empty"
    )
