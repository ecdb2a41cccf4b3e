"""Replica: this process among those that share the journal, known by a lease that it renews.

What a process has begun and not ended (a write, a collection, a batch of an import) is undone or
taken over by others once its lease is over, and what it then still says of it is refused in the
transaction that would have ended it. Where nobody else can have the journal, the lease has no end.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING

from searchmesh_common.errors import ServiceError, Unavailable
from searchmesh_common.logs import fields
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import replica_rows
from searchmesh_search.journal.clock import SECOND_US

if TYPE_CHECKING:
    from searchmesh_search.journal import Journal

_log = logging.getLogger("searchmesh.replica")

_RENEWALS = 3
"""Renewals within the length of a lease, so that one which fails is no loss."""
_RETRIES = 15
"""Attempts within the length of a lease, while they fail."""


class Replica:
    """This process among those that share the journal."""

    def __init__(self, journal: Journal, *, lease_seconds: float = 15.0) -> None:
        self.id = uuid.uuid4().hex
        self._journal = journal
        self._lease_seconds = lease_seconds
        self._renewed = -float("inf")
        self._failing = False

    @property
    def lease_age_seconds(self) -> float:
        """Time since the lease was taken or renewed; 0 for one without an end."""
        return time.monotonic() - self._renewed if self._journal.is_shared else 0.0

    async def join(self, deadline: Deadline) -> None:
        """Take a lease. Raises what the journal raises."""
        if self._journal.is_shared:
            await self._renew(deadline)
            _log.info("joined", extra=fields(replica=self.id))
        else:
            await self._journal.write(lambda c: replica_rows.be_alone(c, self.id), deadline)

    async def run(self) -> None:
        """Renew the lease until cancelled."""
        while self._journal.is_shared:
            await asyncio.sleep(self._lease_seconds / (_RETRIES if self._failing else _RENEWALS))
            try:
                await self._renew(Deadline.after(self._lease_seconds / _RENEWALS))
            except Exception as error:  # noqa: BLE001 - whatever it was, the next may succeed
                self._tell_failure(error)
            else:
                self._failing = False

    async def leave(self) -> None:
        """Give the lease back, so that others need not wait for its end."""
        if not self._journal.is_shared:
            return
        deadline = Deadline.after(self._lease_seconds / _RENEWALS)
        try:
            await self._journal.renew(lambda c: replica_rows.leave(c, self.id), deadline)
        except ServiceError as error:
            _log.warning("left without a word", extra=fields(reason=error.message))

    async def check(self) -> None:
        """Raises Unavailable when the lease is over."""
        if self.lease_age_seconds > self._lease_seconds:
            raise Unavailable(
                "the lease of the journal is over, and others undo what was begun here; it was "
                f"last renewed {self.lease_age_seconds:.1f} s ago"
            )

    async def _renew(self, deadline: Deadline) -> None:
        asked = time.monotonic()
        lease_us = int(self._lease_seconds * SECOND_US)
        await self._journal.renew(lambda c: replica_rows.renew(c, self.id, lease_us), deadline)
        if self._failing:
            age = round(asked - self._renewed, 1)
            _log.info("the lease is renewed again", extra=fields(seconds=age))
        # it began after we asked, so for us it is over a little earlier than for the others
        self._renewed = asked

    def _tell_failure(self, error: Exception) -> None:
        if not self._failing:
            reason = error.message if isinstance(error, ServiceError) else repr(error)
            _log.warning("the lease is not renewed", extra=fields(reason=reason))
        self._failing = True
