"""When a failed call is made again.

Every call of this client may be: reads change nothing, an upsert replaces by id, and creations and
deletions carry a `request_id` that the service knows again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from searchmesh.errors import Overloaded, ServiceError, Unavailable, Unreachable

_RECONNECT_SECONDS = 0.1
"""Pause where nobody answered: another replica may, or the same one after its restart."""

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently to repeat a call that a service was too busy or not ready for."""

    most_attempts: int = 4
    """Attempts in all; 1 never repeats."""

    most_pause_seconds: float = 10.0
    """A service that asks for a longer pause is not asked again."""

    most_interruption_seconds: float = 120.0
    """An import, a watch or an export that breaks is opened again and goes on where it was, until
    nothing has come of that for so long."""

    def pause_after(self, error: ServiceError, attempts_made: int) -> float | None:
        """Seconds to wait before the next attempt; None where there must be none.

        At least what the service asked for, doubled with each attempt, and up to a quarter more so
        that callers who were refused together do not return together.
        """
        asked = _asked(error)
        if asked is None or attempts_made >= self.most_attempts or asked > self.most_pause_seconds:
            return None
        return self._grown(asked, attempts_made)

    def pause_before_reopening(
        self, error: ServiceError, breaks: int, seconds: float
    ) -> float | None:
        """As `pause_after`, for a stream that broke so many times and nothing came of it since.

        seconds: since the first of them.
        """
        asked = _asked(error)
        if asked is None or seconds >= self.most_interruption_seconds:
            return None
        return self._grown(asked, breaks)

    def _grown(self, asked: float, attempts_made: int) -> float:
        # beyond so many attempts, the largest pause is reached whatever was asked for
        doublings = min(attempts_made - 1, _MOST_DOUBLINGS)
        grown = min(asked * 2.0**doublings, self.most_pause_seconds)
        return grown * random.uniform(1.0, 1.25)  # noqa: S311 - no secret


def _asked(error: ServiceError) -> float | None:
    """The shortest pause in seconds; None for an error that no pause mends."""
    if not isinstance(error, Overloaded | Unavailable):
        return None
    return _RECONNECT_SECONDS if isinstance(error, Unreachable) else error.retry_after_seconds
