"""Built models on disk: fetched and built once, found ready at the next start.

    SEARCHMESH_HOME/models/<fingerprint>/model.onnx, tokenizer.json, manifest.json
    SEARCHMESH_HOME/models/downloads/<sha256>
    SEARCHMESH_HOME/models/.lock

The manifest is written last and holds the sha256 of the others: a folder that a crash left half
written, or a file that has changed since, is built again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.numpy import load_file

from searchmesh_common.errors import FailedPrecondition, Unavailable
from searchmesh_common.logs import fields
from searchmesh_encoder.models.bert import build_bert
from searchmesh_encoder.models.fingerprint import fingerprint
from searchmesh_encoder.models.smoothing import read_smoothing
from searchmesh_encoder.models.sources import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from searchmesh_encoder.models.card import ModelCard
    from searchmesh_encoder.models.download import Progress

_log = logging.getLogger("searchmesh.models")

_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A model's files, whole and checked."""

    fingerprint: str
    graph: Path
    tokenizer: Path


class ModelStore:
    """The folder of built models; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def built(self, card: ModelCard, progress: Progress) -> BuiltModel:
        """The model's files, built now unless they are there; blocks, for seconds to minutes.

        progress: told of the bytes of a download. Raises what `fetch`, `read_smoothing` and
        `build_bert` raise, and Unavailable where the folder cannot be written, as when the disk is
        full.
        """
        name = fingerprint(card)
        folder = self._folder / name
        model = BuiltModel(name, folder / "model.onnx", folder / "tokenizer.json")
        try:
            if not _is_whole(model):
                with self._alone():
                    # another process may have built it while this one waited
                    if not _is_whole(model):
                        self._build(card, model, progress)
        except OSError as error:
            raise Unavailable(
                f"{card.name} cannot be built: {error}", retry_after_seconds=_RETRY_SECONDS
            ) from error
        return model

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time fetch and build; others wait here."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _build(self, card: ModelCard, model: BuiltModel, progress: Progress) -> None:
        started = time.perf_counter()
        downloads = self._folder / "downloads"
        tokenizer = fetch(card.tokenizer, downloads, progress)
        weights = fetch(card.weights, downloads, progress)
        smoothing = fetch(card.smoothing, downloads, progress) if card.smoothing else None
        graph = _graph(card, weights, smoothing)
        model.graph.parent.mkdir(parents=True, exist_ok=True)
        _write(model.tokenizer, tokenizer.read_bytes())
        _write(model.graph, graph)
        _write(_manifest(model), json.dumps(_digests(model), indent=1).encode())
        seconds = round(time.perf_counter() - started, 3)
        folder = model.graph.parent
        _log.info("model built", extra=fields(model=card.name, folder=folder, seconds=seconds))


def _graph(card: ModelCard, weights: Path, smoothing: Path | None) -> bytes:
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise FailedPrecondition(
            "WRONG_WEIGHTS", f"{weights} is not a safetensors file: {error}"
        ) from error
    factors = read_smoothing(smoothing, card.dimension) if smoothing else {}
    model = build_bert(tensors, card.bert, card.precision, factors)
    graph: bytes = model.SerializeToString()
    return graph


def _manifest(model: BuiltModel) -> Path:
    return model.graph.with_name("manifest.json")


def _digests(model: BuiltModel) -> dict[str, str]:
    digests = {}
    for path in (model.graph, model.tokenizer):
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _is_whole(model: BuiltModel) -> bool:
    try:
        promised = json.loads(_manifest(model).read_bytes())
        return bool(promised == _digests(model))
    except FileNotFoundError:
        return False
    except ValueError:
        _log.warning("manifest is damaged", extra=fields(file=_manifest(model)))
        return False


def _write(path: Path, content: bytes) -> None:
    """Put a whole file in place, or none."""
    partial = path.with_name(f"{path.name}.part")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
