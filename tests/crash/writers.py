"""Callers that write while parts of the mesh are killed, and know what they were answered."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING

from searchmesh import Document
from searchmesh.errors import ServiceError

if TYPE_CHECKING:
    from searchmesh import Client

    from .history import History
    from .oracle import Content, Oracle, Texts

COLLECTION = "notes"

_IDS = 24
"""Documents of each writer: few, so that most writes replace something."""
_MOST = 200
"""More hits than all writers have documents: a search shows every one of them."""
_SECONDS = 5.0
"""Of a call. What is not answered by then is not known."""


@dataclass
class Scene:
    """What all writers share."""

    client: Client
    oracle: Oracle
    texts: Texts
    history: History
    ending: Event = field(default_factory=Event)
    faults: list[str] = field(default_factory=list)
    """What a caller saw that it must not see."""


class Writer:
    """Writes documents of its own, one call after the other, in a thread."""

    def __init__(self, scene: Scene, name: str, seed: int) -> None:
        self._scene = scene
        self._name = name
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
            act = self._random.choices((self._upsert, self._delete, self._look), (5, 2, 2))[0]
            try:
                act()
            except ServiceError as error:
                self._scene.history.note("failed", writer=self._name, error=str(error)[:200])
                # a service that is away answers at once: no busy loop
                self._scene.ending.wait(0.02)

    def _upsert(self) -> None:
        chosen = self._random.sample(self._ids, self._random.randint(1, 8))
        contents: dict[str, Content] = {one: self._scene.texts.next() for one in chosen}
        self._scene.oracle.begin(contents)
        batch = self._scene.client.upsert_documents(
            COLLECTION, [Document(one, text) for one, text in contents.items()], timeout=_SECONDS
        )
        stored = {one.id for one in batch.results if one.error is None}
        self._scene.oracle.acknowledged({one: contents[one] for one in stored})
        self._scene.history.note("upserted", writer=self._name, ids=sorted(stored))

    def _delete(self) -> None:
        chosen = self._random.sample(self._ids, self._random.randint(1, 4))
        contents: dict[str, Content] = dict.fromkeys(chosen)
        self._scene.oracle.begin(contents)
        self._scene.client.delete_documents(COLLECTION, chosen, timeout=_SECONDS)
        self._scene.oracle.acknowledged(contents)
        self._scene.history.note("deleted", writer=self._name, ids=sorted(chosen))

    def _look(self) -> None:
        """What was acknowledged is there, now; and no search shows what never was."""
        document_id = self._random.choice(self._ids)
        text = self._scene.oracle.certain(document_id)
        if text is None:
            return
        found = self._scene.client.get_document(COLLECTION, document_id, timeout=_SECONDS)
        if found.content != text:
            self._scene.faults.append(f"{document_id}: {found.content!r} instead of {text!r}")
        hits = self._scene.client.search(
            COLLECTION, text, limit=_MOST, output_fields=["$content"], timeout=_SECONDS
        ).hits
        self._scene.faults += self._scene.oracle.never_were(
            (hit.id, str(hit.content)) for hit in hits
        )
        if len({hit.id for hit in hits}) < len(hits):
            self._scene.faults.append(f"a search for {text!r} shows a document twice")
        if document_id not in {hit.id for hit in hits}:
            self._scene.faults.append(f"{document_id}: not found though it is there, {text!r}")
