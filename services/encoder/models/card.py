"""A model's card: everything that is said of a model before any of its files is read."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from searchmesh_common.ports import StartError
from searchmesh_encoder.models.sources import LocalFile, PackageFile, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from searchmesh_encoder.models.sources import Source

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_MOST_DIMENSION = 32_768
_MOST_WINDOW = 1_048_576


class Modality(enum.Enum):
    """The kind of content that a model reads."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    MOLECULE = "molecule"
    SEQUENCE = "sequence"


class Metric(enum.Enum):
    """How near two of a model's vectors are."""

    COSINE = "cosine"
    INNER_PRODUCT = "inner_product"
    EUCLIDEAN = "euclidean"


class Precision(enum.Enum):
    """The numbers that a model's graph computes in."""

    FP32 = "fp32"
    INT8 = "int8"


class Pooling(enum.Enum):
    """How the vectors of a text's tokens become the text's vector."""

    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class BertShape:
    """What a BERT's weights do not tell by their own shapes."""

    heads: int
    layer_norm_epsilon: float


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model, precision included."""

    name: str
    """`[a-z][a-z0-9_.-]{0,62}`."""
    modality: Modality
    description: str
    license: str
    """SPDX identifier where there is one."""
    precision: Precision
    dimension: int
    """Components of a vector."""
    metric: Metric
    window: int
    """Most tokens of one text, special ones included."""
    pooling: Pooling
    query_prefix: str
    """Put before a text that is searched for."""
    document_prefix: str
    """Put before a text that is found."""
    bert: BertShape
    weights: Source
    """A safetensors file with the names of Hugging Face's BertModel."""
    tokenizer: Source
    """A tokenizer.json of Hugging Face's tokenizers."""
    dimensions: tuple[int, ...] = ()
    """Shorter lengths that a vector may be cut to, rising: those that the model was trained for
    (Matryoshka, arXiv:2205.13147)."""
    smoothing: Source | None = None
    """For int8: what `models.smoothing` reads."""
    golden: Path | None = None
    """Texts and their vectors, which the loaded model is compared with; see `models.quality`."""


class CardError(StartError):
    """A card says something that it must not; the message names file and key."""


def read_card(path: Path) -> ModelCard:
    """Read a card.

    A `path` of a file inside it is taken from the card's own folder. Raises CardError.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CardError(f"{path} is not a readable card: {error}") from error
    top = _Keys(path, "", content)
    bert = top.table("bert")
    dimension = top.integer("dimension", _MOST_DIMENSION)
    card = ModelCard(
        name=top.text("name", NAME_PATTERN),
        modality=top.member("modality", Modality),
        description=top.text("description"),
        license=top.text("license"),
        precision=top.member("precision", Precision),
        dimension=dimension,
        metric=top.member("metric", Metric),
        window=top.integer("window", _MOST_WINDOW),
        pooling=top.member("pooling", Pooling),
        query_prefix=top.text("query_prefix"),
        document_prefix=top.text("document_prefix"),
        bert=BertShape(
            heads=bert.integer("heads", _MOST_DIMENSION),
            layer_norm_epsilon=bert.positive("layer_norm_epsilon"),
        ),
        weights=_source(top.table("weights")),
        tokenizer=_source(top.table("tokenizer")),
        dimensions=top.rising("dimensions", dimension - 1) if top.has("dimensions") else (),
        smoothing=_source(top.table("smoothing")) if top.has("smoothing") else None,
        golden=path.parent / top.text("golden") if top.has("golden") else None,
    )
    if card.modality is not Modality.TEXT:
        raise top.fault("modality", f"{card.modality.value} models cannot be loaded yet")
    if card.smoothing and card.precision is not Precision.INT8:
        raise top.fault("smoothing", "is for int8 only")
    bert.end()
    top.end()
    return card


def _source(keys: _Keys) -> Source:
    sha256 = keys.text("sha256", _SHA256_PATTERN)
    source: Source
    if keys.has("package"):
        source = PackageFile(keys.text("package"), keys.text("path"), sha256)
    elif keys.has("url"):
        source = RemoteFile(keys.text("url", re.compile(r"https?://.+")), sha256)
    else:
        source = LocalFile(keys.file.parent / Path(keys.text("path")).expanduser(), sha256)
    keys.end()
    return source


_Member = TypeVar("_Member", bound=enum.Enum)


class _Keys:
    """The keys of one table of a card, each to be taken once; a key that nobody takes is a slip."""

    def __init__(self, file: Path, prefix: str, content: object) -> None:
        self.file = file
        self._prefix = prefix
        if not isinstance(content, dict):
            raise CardError(f"{file}: {prefix.rstrip('.') or 'the card'} must be a table of keys")
        self._content: Mapping[object, Any] = content
        self._left = set(content)

    def has(self, key: str) -> bool:
        return key in self._content

    def fault(self, key: str, sentence: str) -> CardError:
        return CardError(f"{self.file}: {self._prefix}{key}: {sentence}")

    def table(self, key: str) -> _Keys:
        return _Keys(self.file, f"{self._prefix}{key}.", self._take(key))

    def text(self, key: str, pattern: re.Pattern[str] | None = None) -> str:
        value = self._take(key)
        if not isinstance(value, str):
            raise self.fault(key, f"{value!r} given, must be a text")
        if pattern and not pattern.fullmatch(value):
            raise self.fault(key, f"{value!r} given, must match {pattern.pattern}")
        return value

    def integer(self, key: str, maximum: int) -> int:
        value = self._take(key)
        if type(value) is not int or not 1 <= value <= maximum:
            raise self.fault(key, f"{value!r} given, must be a whole number from 1 to {maximum}")
        return value

    def rising(self, key: str, maximum: int) -> tuple[int, ...]:
        value = self._take(key)
        if not isinstance(value, list) or any(type(one) is not int for one in value):
            raise self.fault(key, f"{value!r} given, must be a list of whole numbers")
        if value != sorted({one for one in value if 1 <= one <= maximum}):
            raise self.fault(key, f"{value!r} given, must rise within 1 to {maximum}")
        return tuple(value)

    def positive(self, key: str) -> float:
        value = self._take(key)
        if not isinstance(value, float) or not 0 < value < math.inf:
            raise self.fault(key, f"{value!r} given, must be a number above 0, with a point")
        return value

    def member(self, key: str, members: type[_Member]) -> _Member:
        value = self._take(key)
        for member in members:
            if member.value == value:
                return member
        allowed = ", ".join(str(member.value) for member in members)
        raise self.fault(key, f"{value!r} given, must be one of {allowed}")

    def end(self) -> None:
        """Raise CardError where a key is left that nobody knows."""
        if self._left:
            raise self.fault(str(min(self._left, key=str)), "no such key")

    def _take(self, key: str) -> Any:
        if key not in self._content:
            raise self.fault(key, "required")
        self._left.discard(key)
        return self._content[key]
