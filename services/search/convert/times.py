"""Moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from datetime import datetime


def timestamp(moment: datetime) -> Timestamp:
    """moment: aware of its zone; microseconds are kept."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message
