"""Requests answered before: a repeated request_id gets the answer that it got (AIP-155)."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from searchmesh_common.errors import AlreadyExists
from searchmesh_search.journal.clock import NOW_US, SECOND_US
from searchmesh_search.journal.tables import requests


def recall(connection: Connection, method: str, request_id: str, digest: bytes) -> str | None:
    """The result kept for this request, or None when it is new or has no id.

    Raises AlreadyExists when the id was used for another request.
    """
    if not request_id:
        return None
    row = connection.execute(
        select(requests.c.digest, requests.c.result).where(
            requests.c.method == method, requests.c.request_id == request_id
        )
    ).one_or_none()
    if row is None:
        return None
    if row.digest != digest:
        raise AlreadyExists(
            "request",
            request_id,
            f"request_id: {request_id!r} was used for another {method} request; use a new one",
        )
    return str(row.result)


def remember(
    connection: Connection, method: str, request_id: str, digest: bytes, result: str
) -> None:
    """Keep the result of a request; one without an id is not kept."""
    if request_id:
        connection.execute(
            insert(requests).values(
                method=method,
                request_id=request_id,
                digest=digest,
                result=result,
                create_time=NOW_US,
            )
        )


def any_older(connection: Connection, seconds: int) -> bool:
    """Whether anything has been kept for longer than that."""
    old = select(requests.c.request_id).where(_is_older(seconds)).limit(1)
    return connection.execute(old).one_or_none() is not None


def forget_older(connection: Connection, seconds: int) -> None:
    """Drop what has been kept for longer than that."""
    connection.execute(delete(requests).where(_is_older(seconds)))


def _is_older(seconds: int) -> ColumnElement[bool]:
    return requests.c.create_time < NOW_US - seconds * SECOND_US
