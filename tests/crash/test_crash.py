"""Whatever is killed at whatever moment: nothing acknowledged is lost, nothing stored twice."""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from searchmesh import Client, RetryPolicy, Segmentation
from tests.mesh import Mesh, wait_for
from tests.models import write_text_model

from .history import History
from .killer import Killer
from .oracle import Oracle, Texts
from .readback import packs, read, unexplained_rows
from .writers import Scene, Writer, settle

if TYPE_CHECKING:
    from pathlib import Path

_WHOLE, _PASSAGES = "notes", "passages"
_WRITERS = {"w0": _WHOLE, "w1": _WHOLE, "p0": _PASSAGES}
_MOST_WORDS = {_WHOLE: 3, _PASSAGES: 30}
"""Of a text: within the model's window, and several times that."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_few_kills(tmp_path: Path) -> None:
    crash(tmp_path, kills=6, seed=random.randrange(2**32))


@pytest.mark.crash
@pytest.mark.timeout(3600)
def test_many_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("CRASH_SEED") or random.randrange(2**32))
    with capsys.disabled():
        print(f"\nCRASH_SEED={seed}; the history is written to {tmp_path / 'history.jsonl'}")
        crash(tmp_path, kills=int(os.environ.get("CRASH_KILLS") or 50), seed=seed)


def crash(folder: Path, *, kills: int, seed: int) -> None:
    """Write from several callers while parts of the mesh are killed; then read everything back."""
    cards = write_text_model(folder / "cards").parent
    environ = {"ENCODER_CARDS": str(cards), "ENCODER_DEFAULT_MODEL": "tiny", "ENCODER_WORKERS": "1"}
    mesh = Mesh(folder / "home", environ=environ)
    oracle = Oracle()
    began = time.monotonic()
    with (folder / "history.jsonl").open("w") as file, Client(mesh.connection) as client:
        scene = Scene(client, oracle, Texts(), History(file))
        scene.history.note("began", seed=seed)
        try:
            mesh.start()
            client.create_collection(_WHOLE, model="tiny")
            client.create_collection(_PASSAGES, model="tiny", segmentation=Segmentation.SEGMENTS)
            writers = [
                Writer(scene, collection, name, seed + number, _MOST_WORDS[collection])
                for number, (name, collection) in enumerate(_WRITERS.items())
            ]
            for writer in writers:
                writer.start()
            try:
                killed = Killer(mesh, scene.history, seed).kill(kills)
            finally:
                scene.ending.set()
                for writer in writers:
                    writer.join()
            mesh.wait_until_serving()
            # with retries: a channel learns that its server is back some time after others do
            with Client(replace(mesh.connection, retries=RetryPolicy())) as reader:
                faults = settle(scene, reader)
                found: dict[str, str] = {}
                for collection in (_WHOLE, _PASSAGES):
                    there, wrong = read(reader, collection)
                    found |= there
                    faults += wrong
            # each start makes a pack, and the collector has to get over every kill; the one that
            # is appended to may be unused
            wait_for(lambda: len(packs(mesh.home)[0]) <= 1, "unused packs to be deleted")
            faults += [f"pack {one} is lost" for one in packs(mesh.home)[1]]
        finally:
            mesh.close()
    faults = [*scene.faults, *faults, *oracle.faults(found)]
    faults += asyncio.run(unexplained_rows(mesh.home))
    seconds = time.monotonic() - began
    print(
        f"seed {seed}: killed {killed} in {seconds:.0f} s, {len(found)} documents and "
        f"{len(scene.imports)} imports read back"
    )
    assert not faults, f"seed {seed}: {faults[:10]}, {file.name}"
