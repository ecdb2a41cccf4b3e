"""The id that a call carries through both services and their logs."""

from __future__ import annotations

import re
import uuid
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from searchmesh.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

_VISIBLE = re.compile(r"[\x21-\x7e]{1,128}")
_given: ContextVar[str] = ContextVar("searchmesh_request_id", default="")


@contextmanager
def request_id(value: str) -> Iterator[None]:
    """Calls made inside carry this id instead of one of their own; nests, also across tasks.

    value: 1 to 128 visible ASCII characters.
    """
    if not _VISIBLE.fullmatch(value):
        raise InvalidRequest.of("request_id", "must be 1 to 128 visible ASCII characters")
    token = _given.set(value)
    try:
        yield
    finally:
        _given.reset(token)


def current_or_new() -> str:
    """The id for the next call."""
    return _given.get() or uuid.uuid4().hex
