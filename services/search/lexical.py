"""How a collection is searched by words: what it can be told, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_common.errors import FailedPrecondition, FieldViolation, InvalidRequest
from searchmesh_search.content import Modality

if TYPE_CHECKING:
    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.content import Content
    from searchmesh_search.engine import Lexical

ANALYZERS = ("english", "standard")
"""`english` leaves out frequent words and searches by the stems of the others, `standard` takes
every word as it is written, in small letters."""

MAX_K1 = 3.0
MAX_B = 1.0

MAX_QUERY_BYTES = 65_535
"""Of a text that is searched for by its words, in UTF-8: as long as one that is stored."""


def lexical_faults(lexical: Lexical | None) -> list[FieldViolation]:
    """Analyzers that there are not, and values out of range: an engine may go on with any."""
    if lexical is None:
        return []
    faults = []
    if lexical.analyzer not in ANALYZERS:
        what = f"{lexical.analyzer!r} given; one of {', '.join(ANALYZERS)}"
        faults.append(FieldViolation("collection.lexical.analyzer", what))
    for name, value, most in (("k1", lexical.k1, MAX_K1), ("b", lexical.b, MAX_B)):
        if not 0 <= value <= most:
            what = f"{value:g} given; 0 to {most:g}"
            faults.append(FieldViolation(f"collection.lexical.{name}", what))
    return faults


def words_of(collection: Collection, content: Content | None) -> str:
    """The text whose words are searched for.

    Raises InvalidRequest for a query that is no text, is blank or too long, FailedPrecondition,
    reason NO_LEXICAL, for a collection that is not searched by words.
    """
    if content is None or content.modality is not Modality.TEXT:
        raise InvalidRequest.of("text", "required: only a text has words to search by")
    if collection.spec.lexical is None:
        raise FailedPrecondition(
            "NO_LEXICAL",
            f"collection {collection.name!r} was created without `lexical`, so it cannot be "
            "searched by words",
            {"collection": collection.name},
        )
    text = str(content.data)
    length = len(text.encode())
    if not text.strip():
        raise InvalidRequest.of("text", "is blank; give at least one word")
    if length > MAX_QUERY_BYTES:
        raise InvalidRequest.of("text", f"{length} bytes given, at most {MAX_QUERY_BYTES}")
    return text
