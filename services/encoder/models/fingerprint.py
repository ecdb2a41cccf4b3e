"""What a model's vectors depend on, as one short name."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from searchmesh_encoder.models.bert import GRAPH_VERSION
from searchmesh_encoder.preprocess.text import PREPROCESSING_VERSION

if TYPE_CHECKING:
    from searchmesh_encoder.models.card import ModelCard

_CHARACTERS = 32


def fingerprint(card: ModelCard) -> str:
    """32 hexadecimal digits; vectors of different fingerprints must not be compared.

    Hashes what the card says of the computation, the content of weights and tokenizer (by the
    sha256 that the card demands of them), and the versions of our preprocessing and of our graph.
    Description, licence, the lengths that a vector may be cut to, the vectors to compare with and
    the place that files come from change no vector and are left out.
    """
    parts = {
        "name": card.name,
        "modality": card.modality.value,
        "precision": card.precision.value,
        "dimension": card.dimension,
        "metric": card.metric.value,
        "window": card.window,
        "pooling": card.pooling.value,
        "query_prefix": card.query_prefix,
        "document_prefix": card.document_prefix,
        "heads": card.bert.heads,
        "layer_norm_epsilon": card.bert.layer_norm_epsilon,
        "weights": card.weights.sha256,
        "tokenizer": card.tokenizer.sha256,
        "preprocessing": PREPROCESSING_VERSION,
        "graph": GRAPH_VERSION,
    }
    if card.smoothing:
        parts["smoothing"] = card.smoothing.sha256
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_CHARACTERS]
