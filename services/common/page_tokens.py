"""Page tokens: where the next page of a list begins, bound to the list that gave it."""

from __future__ import annotations

import base64
import binascii
import hashlib

from searchmesh_common.errors import InvalidRequest

_DIGEST_BYTES = 8


def encode(scope: tuple[str, ...], last: str) -> str:
    """The token for the page after `last`, of the list that `scope` tells from every other."""
    return base64.urlsafe_b64encode(_digest(scope, last) + last.encode()).decode()


def decode(scope: tuple[str, ...], token: str) -> str:
    """The `last` of a token, empty for none. Raises InvalidRequest for a token of another list."""
    if not token:
        return ""
    try:
        raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        digest, last = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:].decode()
    except (binascii.Error, UnicodeError):
        raise _foreign() from None
    if digest != _digest(scope, last):
        raise _foreign()
    return last


def _digest(scope: tuple[str, ...], last: str) -> bytes:
    # a control character separates the parts: neither names nor ids hold one
    return hashlib.sha256("\x00".join((*scope, last)).encode()).digest()[:_DIGEST_BYTES]


def _foreign() -> InvalidRequest:
    return InvalidRequest.of(
        "page_token",
        "not a token of this list; pass next_page_token of the page before unchanged, "
        "or leave it empty",
    )
