"""The model file that every contender serves, from the encoder's own store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_encoder.models.card import Precision
from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.operands import OperandForm, exact_form, in_form
from searchmesh_encoder.models.store import ModelStore

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk."""

    name: str
    fingerprint: str
    graph: Path
    tokenizer: Path
    sha256: str
    """Of the graph's file."""


def model_files(name: str, home: Path) -> ModelFiles:
    """A model of the catalogue, built in a home where the encoder then finds it."""
    card = read_catalogue(None)[name]
    built = ModelStore(home / "models").built(card, lambda _done, _all: None)
    graph = _as_it_runs_here(built.graph) if card.precision is Precision.INT8 else built.graph
    with graph.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFiles(name, built.fingerprint, graph, built.tokenizer, digest)


def _as_it_runs_here(graph: Path) -> Path:
    """A file of the form that the encoder chooses for this CPU when it loads the graph."""
    form = exact_form()
    if form is OperandForm.SIGNED:
        return graph
    rewritten = graph.with_name(f"{form.value}.onnx")
    rewritten.write_bytes(in_form(graph.read_bytes(), form))
    return rewritten
