"""What is much runs beside the event loop, what is little on it."""

from __future__ import annotations

import threading

from searchmesh_search.off_loop import ITEMS_ON_LOOP, off_loop


async def test_only_much_work_goes_to_a_thread() -> None:
    here = threading.get_ident()
    assert await off_loop(ITEMS_ON_LOOP, threading.get_ident) == here
    assert await off_loop(ITEMS_ON_LOOP + 1, threading.get_ident) != here
