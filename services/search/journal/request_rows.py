"""Requests answered before: a repeated request_id gets the answer that it got (AIP-155)."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from searchmesh_common.errors import AlreadyExists
from searchmesh_search.journal.clock import now_us
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
                create_time=now_us(),
            )
        )


def any_before(connection: Connection, time_us: int) -> bool:
    """Whether anything was kept before that time."""
    old = select(requests.c.request_id).where(requests.c.create_time < time_us).limit(1)
    return connection.execute(old).one_or_none() is not None


def forget_before(connection: Connection, time_us: int) -> int:
    """Drop what was kept before that time; returns how many."""
    return connection.execute(delete(requests).where(requests.c.create_time < time_us)).rowcount
