"""Many references to contents as few bytes, as the journal keeps those of a batch.

Documents that were stored together lie one behind the other, so a reference mostly costs what its
length takes:

    refs   = run*
    run    = name of the pack (length, UTF-8), offset of the first record, count, length*

Numbers have seven bits a byte, the lowest first; the eighth says that more follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_common.errors import DataLoss
from searchmesh_search.content_store import ContentRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def pack_refs(refs: Sequence[ContentRef]) -> bytes:
    """References in their order, in about two bytes each."""
    packed = bytearray()
    for run in _runs(refs):
        name = run[0].pack.encode()
        _add_number(packed, len(name))
        packed += name
        _add_number(packed, run[0].offset)
        _add_number(packed, len(run))
        for ref in run:
            _add_number(packed, ref.length)
    return bytes(packed)


def unpack_refs(packed: bytes) -> list[ContentRef]:
    """The inverse of `pack_refs`. Raises DataLoss for what it has not written."""
    refs: list[ContentRef] = []
    reader = _Reader(packed)
    while not reader.ended:
        name = reader.text()
        offset = reader.number()
        for _ in range(reader.number()):
            refs.append(ContentRef(name, offset, reader.number()))
            offset = refs[-1].end
    return refs


def _runs(refs: Sequence[ContentRef]) -> Iterator[Sequence[ContentRef]]:
    """Cut where a record does not follow the one before."""
    start = 0
    for place in range(1, len(refs) + 1):
        before = refs[place - 1]
        if (
            place == len(refs)
            or refs[place].pack != before.pack
            or refs[place].offset != before.end
        ):
            yield refs[start:place]
            start = place


def _add_number(packed: bytearray, number: int) -> None:
    while number >= 0x80:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)


class _Reader:
    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._packed)

    def number(self) -> int:
        number = shift = 0
        while True:
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def text(self) -> str:
        try:
            return self._take(self.number()).decode()
        except UnicodeDecodeError:
            raise _damaged() from None

    def _take(self, length: int) -> bytes:
        taken = self._packed[self._at : self._at + length]
        if len(taken) < length:
            raise _damaged()
        self._at += length
        return taken


def _damaged() -> DataLoss:
    return DataLoss("the journal's references to the contents of a batch are damaged")
