"""A name server that answers one name, as a cluster's does for a headless Service."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAME = "encoder.mesh.test"

_HEADER = struct.Struct("!6H")
_QUESTION_END = struct.Struct("!2H")
_RECORD = struct.Struct("!HHHIH")

_ADDRESS, _INTERNET = 1, 1
"""Type and class of a record that holds an IPv4 address."""
_ANSWER, _ANSWER_NO_SUCH_NAME = 0x8400, 0x8403
_QUESTION_NAME = 0xC00C
"""A pointer to the name in the question, right behind the header."""


class Names(asyncio.DatagramProtocol):
    """Addresses of `NAME`; other names do not exist."""

    def __init__(self) -> None:
        self.published: set[str] = set()
        """IPv4 addresses that the name has now."""
        self.asked = 0
        """Times that the name's IPv4 addresses were asked for."""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str | Any, int]) -> None:
        self._transport.sendto(self._answer(data), peer)

    @property
    def address(self) -> str:
        """Where it answers, as host:port."""
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def _answer(self, query: bytes) -> bytes:
        """Any recursion, additional records and further questions are left out (RFC 1035)."""
        (identifier, *_) = _HEADER.unpack_from(query)
        name, end = _name(query, _HEADER.size)
        question = query[_HEADER.size : end + _QUESTION_END.size]
        kind, _ = _QUESTION_END.unpack_from(query, end)
        addresses = sorted(self.published) if (name, kind) == (NAME, _ADDRESS) else []
        self.asked += (name, kind) == (NAME, _ADDRESS)
        code = _ANSWER if name == NAME else _ANSWER_NO_SUCH_NAME
        header = _HEADER.pack(identifier, code, 1, len(addresses), 0, 0)
        return header + question + b"".join(_record(one) for one in addresses)


@asynccontextmanager
async def serving_names() -> AsyncIterator[Names]:
    """A name server on a free port of the loopback interface."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(Names, ("127.0.0.1", 0))
    try:
        yield names
    finally:
        transport.close()


def _name(message: bytes, start: int) -> tuple[str, int]:
    """The name at a place of a message, and the place behind it."""
    labels = []
    while size := message[start]:
        labels.append(message[start + 1 : start + 1 + size].decode())
        start += 1 + size
    return ".".join(labels).lower(), start + 1


def _record(address: str) -> bytes:
    """One address of the name, to be forgotten at once."""
    return _RECORD.pack(_QUESTION_NAME, _ADDRESS, _INTERNET, 0, 4) + socket.inet_aton(address)
