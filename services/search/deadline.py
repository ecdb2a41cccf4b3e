"""How long a call may still take, handed from step to step."""

from __future__ import annotations

import time
from dataclasses import dataclass

from searchmesh_common import call_context
from searchmesh_common.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment by which a call must have answered."""

    at: float
    """`time.monotonic()` seconds."""

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def of_call(cls) -> Deadline:
        """The deadline of the unary call that this task serves: the caller's, or the default."""
        call = call_context.current()
        assert call is not None
        assert call.deadline is not None
        return cls(call.deadline)

    @classmethod
    def of_step(cls, seconds: float) -> Deadline:
        """The deadline of one step of the stream that this task serves: that many seconds from now,
        or the caller's where it has one that is sooner.
        """
        left = call_context.remaining_seconds()
        return cls.after(seconds if left is None else min(seconds, left))

    def share(self, part: float) -> Deadline:
        """The deadline of a step that may take that part of the time left, from 0 to 1, so that the
        steps behind it have the rest."""
        return Deadline(self.at - (1 - part) * max(0.0, self.at - time.monotonic()))

    def remaining(self) -> float:
        """Seconds left, more than 0. Raises DeadlineExceeded when none are."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the call's time ran out before it was done")
        return left
