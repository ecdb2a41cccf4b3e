"""Small real models for tests: a BERT of random weights with its tokenizer and card, and graphs."""

from __future__ import annotations

import hashlib
import string
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from onnx import TensorProto
from safetensors.numpy import save_file
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from searchmesh_encoder.models.graph import GraphWriter

if TYPE_CHECKING:
    from pathlib import Path

DIMENSION = 16
WINDOW = 24

_HEADS = 2
_LAYERS = 2
_POSITIONS = 32
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_CHARACTERS = string.ascii_lowercase + string.digits
_VOCABULARY = (*_SPECIAL, *_CHARACTERS, *(f"##{one}" for one in _CHARACTERS))


def write_text_model(folder: Path, name: str = "tiny", **changes: Any) -> Path:
    """A BERT that reads one token a letter; returns its card.

    changes: keys of the card that are to be other than they should.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights, tokenizer = folder / f"{name}.safetensors", folder / f"{name}.json"
    save_file(bert_weights(), weights)
    _tokenizer().save(str(tokenizer))
    card = {
        "name": name,
        "modality": "text",
        "description": "Random weights.",
        "license": "CC0-1.0",
        "precision": "fp32",
        "dimension": DIMENSION,
        "metric": "cosine",
        "window": WINDOW,
        "pooling": "mean",
        "query_prefix": "q ",
        "document_prefix": "",
        "bert": {"heads": _HEADS, "layer_norm_epsilon": 1e-12},
        "weights": {"path": weights.name, "sha256": sha256(weights)},
        "tokenizer": {"path": tokenizer.name, "sha256": sha256(tokenizer)},
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(card))
    return path


def bert_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """The tensors of a BERT by Hugging Face's names, float32."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(scale=0.3, size=shape).astype(np.float32)

    wide = 4 * DIMENSION
    weights = {
        "embeddings.word_embeddings.weight": normal(len(_VOCABULARY), DIMENSION),
        "embeddings.position_embeddings.weight": normal(_POSITIONS, DIMENSION),
        "embeddings.token_type_embeddings.weight": normal(2, DIMENSION),
    }
    norms = ["embeddings.LayerNorm"]
    denses: dict[str, tuple[int, int]] = {}
    for layer in (f"encoder.layer.{index}" for index in range(_LAYERS)):
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        denses |= {
            f"{layer}.attention.{part}": (DIMENSION, DIMENSION)
            for part in ("self.query", "self.key", "self.value", "output.dense")
        }
        denses[f"{layer}.intermediate.dense"] = (wide, DIMENSION)
        denses[f"{layer}.output.dense"] = (DIMENSION, wide)
    for name in norms:
        weights[f"{name}.weight"] = 1 + normal(DIMENSION)
        weights[f"{name}.bias"] = normal(DIMENSION)
    for name, (outputs, inputs) in denses.items():
        weights[f"{name}.weight"] = normal(outputs, inputs)
        weights[f"{name}.bias"] = normal(outputs)
    return weights


def write_doubling_graph(path: Path) -> Path:
    """`x` (batch, 2) float32 -> twice as much."""
    graph = GraphWriter()
    graph.op("Mul", ["x", graph.constant("two", np.float32(2))], "doubled")
    model = graph.model(
        "doubling", [("x", TensorProto.FLOAT, ("batch", 2))], ("doubled", ("batch", 2))
    )
    path.write_bytes(model.SerializeToString())
    return path


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _tokenizer() -> Tokenizer:
    vocabulary = {token: number for number, token in enumerate(_VOCABULARY)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer
