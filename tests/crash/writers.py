"""Callers that write while parts of the mesh are killed, and know what they were answered."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING

from searchmesh import Document
from searchmesh.errors import ServiceError
from searchmesh.results import ImportState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from searchmesh import Client

    from .history import History
    from .oracle import Content, Oracle, Texts

_IDS = 24
"""Documents of each writer: few, so that most writes replace something."""
_MOST = 200
"""More hits than all writers have documents: a search shows every one of them."""
_CANCELLED = 0.1
"""Share of imports."""
_SETTLE_SECONDS = 60.0
_SECONDS = 5.0
"""Of a call. What is not answered by then is not known."""


@dataclass(frozen=True)
class Import:
    """An import that was received."""

    name: str
    contents: Mapping[str, Content]
    may_be_cancelled: bool


@dataclass
class Scene:
    """What all writers share."""

    client: Client
    oracle: Oracle
    texts: Texts
    history: History
    imports: list[Import] = field(default_factory=list)
    ending: Event = field(default_factory=Event)
    faults: list[str] = field(default_factory=list)
    """What a caller saw that it must not see."""


class Writer:
    """Writes documents of its own, one call after the other, in a thread."""

    def __init__(self, scene: Scene, collection: str, name: str, seed: int, words: int) -> None:
        """words: most of a text."""
        self._scene = scene
        self._collection = collection
        self._name = name
        self._words = words
        self._imports = 0
        self._random = random.Random(seed)
        self._ids = [f"{name}-{number}" for number in range(_IDS)]
        self._thread = Thread(target=self._run, name=name)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        if self._thread.is_alive():
            self._scene.faults.append(f"{self._name} hangs beyond every deadline of its calls")

    def _run(self) -> None:
        while not self._scene.ending.is_set():
            acts = (self._upsert, self._delete, self._look, self._import)
            act = self._random.choices(acts, (5, 2, 3, 2))[0]
            try:
                act()
            except ServiceError as error:
                self._scene.history.note("failed", writer=self._name, error=str(error)[:200])
                # a service that is away answers at once: no busy loop
                self._scene.ending.wait(0.02)

    def _upsert(self) -> None:
        chosen = self._random.sample(self._ids, self._random.randint(1, 8))
        contents = self._texts(chosen)
        self._scene.oracle.begin(contents)
        batch = self._scene.client.upsert_documents(
            self._collection, _documents(contents), timeout=_SECONDS
        )
        stored = {one.id for one in batch.results if one.error is None}
        self._scene.oracle.acknowledged({one: contents[one] for one in stored})
        self._scene.history.note("upserted", writer=self._name, ids=sorted(stored))

    def _delete(self) -> None:
        chosen = self._random.sample(self._ids, self._random.randint(1, 4))
        contents: dict[str, Content] = dict.fromkeys(chosen)
        self._scene.oracle.begin(contents)
        self._scene.client.delete_documents(self._collection, chosen, timeout=_SECONDS)
        self._scene.oracle.acknowledged(contents)
        self._scene.history.note("deleted", writer=self._name, ids=sorted(chosen))

    def _import(self) -> None:
        """What comes after it is written after it, so it is repeated until it is received."""
        self._imports += 1
        request_id = f"{self._name}-{self._imports}"
        contents = self._texts(self._random.sample(self._ids, self._random.randint(1, 12)))
        self._scene.oracle.begin(contents)
        until = time.monotonic() + _SETTLE_SECONDS
        while not self._is_received(request_id, contents):
            if time.monotonic() > until:
                self._scene.faults.append(f"{request_id} is not received")
                return
            time.sleep(0.1)
        cancelled = self._random.random() < _CANCELLED
        name = f"operations/{request_id}"
        self._scene.imports.append(Import(name, contents, cancelled))
        self._scene.history.note("received", writer=self._name, ids=sorted(contents))
        if cancelled:
            self._scene.client.cancel_operation(name, timeout=_SECONDS)

    def _is_received(self, request_id: str, contents: Mapping[str, Content]) -> bool:
        try:
            self._scene.client.import_documents(
                self._collection, _documents(contents), request_id=request_id, timeout=_SECONDS
            )
        except ServiceError as error:
            self._scene.history.note("not received", writer=self._name, error=str(error)[:200])
            return False
        return True

    def _texts(self, ids: list[str]) -> dict[str, Content]:
        return {one: self._scene.texts.next(self._random.randint(1, self._words)) for one in ids}

    def _look(self) -> None:
        """What was acknowledged is there, now; and no search shows what never was."""
        document_id = self._random.choice(self._ids)
        text = self._scene.oracle.certain(document_id)
        if text is None:
            return
        found = self._scene.client.get_document(self._collection, document_id, timeout=_SECONDS)
        if found.content != text:
            self._scene.faults.append(f"{document_id}: {found.content!r} instead of {text!r}")
        hits = self._scene.client.search(
            self._collection, text, limit=_MOST, output_fields=["$content"], timeout=_SECONDS
        ).hits
        self._scene.faults += self._scene.oracle.never_were(
            (hit.id, str(hit.content)) for hit in hits
        )
        if len({hit.id for hit in hits}) < len(hits):
            self._scene.faults.append(f"a search for {text!r} shows a document twice")
        if document_id not in {hit.id for hit in hits}:
            self._scene.faults.append(f"{document_id}: not found though it is there, {text!r}")


def settle(scene: Scene, client: Client) -> list[str]:
    """Wait until every import has ended; why one cannot have ended as it did."""
    faults = []
    for one in scene.imports:
        *_, last = client.watch_import(one.name, timeout=_SETTLE_SECONDS)
        if last.state is ImportState.SUCCEEDED and last.stored_count == len(one.contents):
            scene.oracle.acknowledged(one.contents)
        elif not (one.may_be_cancelled and last.state is ImportState.CANCELLED):
            faults.append(f"{one.name} ended {last}")
    return faults


def _documents(contents: Mapping[str, Content]) -> list[Document]:
    return [Document(one, text) for one, text in contents.items()]
