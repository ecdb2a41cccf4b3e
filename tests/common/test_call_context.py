"""Metadata of any shape become a call context; what looks wrong is dropped."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common import call_context
from searchmesh_common.call_context import from_metadata

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@given(st.text(max_size=200))
def test_a_request_id_is_always_printable_and_short(given_id: str) -> None:
    call = from_metadata((("x-request-id", given_id),), None)
    assert 1 <= len(call.request_id) <= 128
    assert call.request_id.isascii()
    assert call.request_id.isprintable()
    assert " " not in call.request_id


def test_what_looks_wrong_is_dropped() -> None:
    call = from_metadata(
        (("searchmesh-caller", "a b"), ("traceparent", "00-xyz"), ("tracestate", "v=1")), None
    )
    assert (call.caller, call.traceparent, call.tracestate) == ("", "", "")


def test_binary_metadata_are_not_mistaken() -> None:
    call = from_metadata((("x-request-id-bin", b"\xff"), ("traceparent", TRACE)), None)
    assert call.traceparent == TRACE


def test_nothing_is_passed_on_outside_of_a_call() -> None:
    assert call_context.current() is None
    assert call_context.outgoing_metadata() == ()
    assert call_context.remaining_seconds() is None


@pytest.mark.parametrize("past_seconds", [1.0, 0.0])
async def test_no_time_is_left_after_the_deadline(past_seconds: float) -> None:
    async def inside() -> float | None:
        call_context.enter(from_metadata((), time.monotonic() - past_seconds))
        return call_context.remaining_seconds()

    assert await asyncio.create_task(inside()) == 0.0
    assert call_context.current() is None
