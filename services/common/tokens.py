"""Bearer tokens: who may call at all."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from searchmesh_common.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterable

AUTHORIZATION_KEY = "authorization"
_SCHEME = "Bearer "


class TokenCheck:
    """Admits calls that carry one of the accepted tokens as `authorization: Bearer TOKEN`."""

    def __init__(self, tokens: Iterable[str]) -> None:
        # digests, so that the time a look-up takes tells nothing about a token
        self._accepted = frozenset(_digest(token) for token in tokens)

    def check(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Raise Unauthenticated unless the metadata carry an accepted token."""
        for key, value in metadata:
            if key == AUTHORIZATION_KEY and isinstance(value, str):
                if _digest(value.removeprefix(_SCHEME)) in self._accepted:
                    return
                raise Unauthenticated("the bearer token is not accepted")
        raise Unauthenticated(f"send metadata `{AUTHORIZATION_KEY}: {_SCHEME}TOKEN`")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
