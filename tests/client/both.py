"""Both clients behind one awaitable face, so that a test speaks for the two."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from searchmesh import AsyncClient, Client, Connection

if TYPE_CHECKING:
    from collections.abc import Callable


class AnyClient(Protocol):
    """Either client: a method by name, a listing as a list; `run` and `all_of` take a method of
    what a call returned.
    """

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any: ...

    async def items(self, method: str, *args: Any, **kwargs: Any) -> list[Any]: ...

    async def run(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any: ...

    async def all_of(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]: ...

    async def close(self) -> None: ...


class Blocking:
    """The blocking client, on a thread."""

    def __init__(self, connection: Connection) -> None:
        self._client = Client(connection)

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await self.run(getattr(self._client, method), *args, **kwargs)

    async def items(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        return await self.all_of(getattr(self._client, method), *args, **kwargs)

    async def run(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(method, *args, **kwargs)

    async def all_of(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        return await asyncio.to_thread(lambda: list(method(*args, **kwargs)))

    async def close(self) -> None:
        self._client.close()


class Asyncio:
    """The asyncio client."""

    def __init__(self, connection: Connection) -> None:
        self._client = AsyncClient(connection)

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await self.run(getattr(self._client, method), *args, **kwargs)

    async def items(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        return await self.all_of(getattr(self._client, method), *args, **kwargs)

    async def run(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await method(*args, **kwargs)

    async def all_of(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        return [item async for item in method(*args, **kwargs)]

    async def close(self) -> None:
        await self._client.close()


KINDS: dict[str, Callable[[Connection], AnyClient]] = {"blocking": Blocking, "asyncio": Asyncio}
