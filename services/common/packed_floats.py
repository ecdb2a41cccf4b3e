"""A message's `repeated float` as the bytes that it is on the wire.

A packed field is its tag, its length and the components in little endian. Filling or reading it
number by number takes several times as long, with the interpreter's lock held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from google.protobuf.message import Message

# both messages that hold floats, ours and Milvus's, keep them in field 1; wire type 2 has a length
_TAG = bytes([1 << 3 | 2])


def write(message: Message, values: np.ndarray) -> None:
    """Append values to field 1 of a message. values: (components,) of any float type."""
    packed = np.ascontiguousarray(values, dtype="<f4").tobytes()
    message.MergeFromString(_TAG + _varint(len(packed)) + packed)


def read(message: Message, count: int) -> np.ndarray:
    """(count,) float32 of field 1 of a message that has no other; count: how many it holds."""
    if not count:
        return np.empty(0, np.float32)  # an empty field is not written at all
    header = len(_TAG) + len(_varint(4 * count))
    return np.frombuffer(message.SerializeToString(), dtype="<f4", offset=header)


def _varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
