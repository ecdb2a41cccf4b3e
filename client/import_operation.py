"""What `import_documents` returns: an import whose documents are all received."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from searchmesh.errors import Aborted, Internal
from searchmesh.results import ImportState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from searchmesh.async_client import AsyncClient
    from searchmesh.client import Client
    from searchmesh.results import ImportFailure, ImportProgress, Operation
    from searchmesh.uploads import Positions, Upload


class _Received:
    """An import as its caller knows it: failures are told by their place among those given."""

    def __init__(self, operation: Operation, upload: Upload) -> None:
        self.name = operation.name
        """Of the operation: `operations/…`."""
        self.refused: Sequence[ImportFailure] = upload.refused
        """Documents that could not be sent, where `import_documents` was not told whom to tell."""
        self._positions: Positions = upload.positions

    def _given(self, failure: ImportFailure) -> ImportFailure:
        return replace(failure, position=self._positions.given(failure.position))

    def _told(self, progress: ImportProgress) -> ImportProgress:
        return replace(progress, failures=tuple(map(self._given, progress.failures)))


class ImportOperation(_Received):
    """An import whose documents are all received, and are being encoded and stored."""

    def __init__(self, client: Client, operation: Operation, upload: Upload) -> None:
        super().__init__(operation, upload)
        self._client = client

    def watch(self, *, timeout: float | None = None) -> Iterator[ImportProgress]:
        """How far it is now and at every change, until it has ended; see `Client.watch_import`."""
        return map(self._told, self._client.watch_import(self.name, timeout=timeout))

    def wait(self, *, timeout: float | None = None) -> ImportProgress:
        """Wait until all is searchable or set aside.

        timeout: seconds; then raises DeadlineExceeded, and the import goes on. Default: for ever.
        Raises Aborted where it was cancelled, and its own error where it failed.
        """
        for progress in self.watch(timeout=timeout):
            if progress.state.has_ended:
                return succeeded(self.name, progress)
        raise Internal(f"{self.name} is not followed to its end")

    def cancel(self) -> None:
        """Stop it; what is stored stays."""
        self._client.cancel_operation(self.name)

    def failures(self) -> Iterator[ImportFailure]:
        """All that it has set aside so far, by position."""
        return map(self._given, self._client.list_import_failures(self.name))


class AsyncImportOperation(_Received):
    """As `ImportOperation`, awaited."""

    def __init__(self, client: AsyncClient, operation: Operation, upload: Upload) -> None:
        super().__init__(operation, upload)
        self._client = client

    async def watch(self, *, timeout: float | None = None) -> AsyncIterator[ImportProgress]:
        """As `ImportOperation.watch`."""
        async for progress in self._client.watch_import(self.name, timeout=timeout):
            yield self._told(progress)

    async def wait(self, *, timeout: float | None = None) -> ImportProgress:
        """As `ImportOperation.wait`."""
        async for progress in self.watch(timeout=timeout):
            if progress.state.has_ended:
                return succeeded(self.name, progress)
        raise Internal(f"{self.name} is not followed to its end")

    async def cancel(self) -> None:
        """As `ImportOperation.cancel`."""
        await self._client.cancel_operation(self.name)

    async def failures(self) -> AsyncIterator[ImportFailure]:
        """As `ImportOperation.failures`."""
        async for failure in self._client.list_import_failures(self.name):
            yield self._given(failure)


def succeeded(name: str, progress: ImportProgress) -> ImportProgress:
    """The last progress of an import. Raises where it has not succeeded."""
    if progress.state is ImportState.SUCCEEDED:
        return progress
    if progress.state is ImportState.CANCELLED:
        raise Aborted(f"{name} was cancelled; {progress.stored_count:,} documents stay stored")
    raise progress.error or Internal(f"{name} failed and does not say why")
