"""What each document may hold, given what was answered and what was not."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Content = str | None
"""A document's text; None where there is no such document."""


@dataclass
class Oracle:
    """The possible contents of every document.

    Each document belongs to one writer, which begins one write of it at a time. What was
    acknowledged is certain: nothing that was begun before it can be there any more. What was not
    may have happened or not, until something later is acknowledged.
    """

    _possible: dict[str, list[Content]] = field(default_factory=dict)
    """In the order in which their writes began."""
    _ever: defaultdict[str, set[Content]] = field(default_factory=lambda: defaultdict(set))
    _lock: Lock = field(default_factory=Lock)

    def begin(self, contents: Mapping[str, Content]) -> None:
        """A write sets out: from now on it may be seen."""
        with self._lock:
            for document_id, content in contents.items():
                self._possible.setdefault(document_id, [None]).append(content)
                self._ever[document_id].add(content)

    def acknowledged(self, contents: Mapping[str, Content]) -> None:
        """The write happened: nothing of before may be seen any more."""
        with self._lock:
            for document_id, content in contents.items():
                possible = self._possible[document_id]
                # not there: something later was acknowledged before
                if content in possible:
                    latest = len(possible) - 1 - possible[::-1].index(content)
                    del possible[:latest]

    def certain(self, document_id: str) -> Content:
        """What a document must hold; None too where that is not certain."""
        with self._lock:
            possible = self._possible.get(document_id, [None])
            return possible[0] if len(possible) == 1 else None

    def faults(self, found: Mapping[str, str]) -> list[str]:
        """Why this cannot be what is stored, given that everything has come to rest."""
        with self._lock:
            ids = sorted({*self._possible, *found})
            wrong = [one for one in ids if found.get(one) not in self._possible.get(one, [None])]
            return [
                f"{one}: {_shown(found.get(one))} instead of "
                f"{' or '.join(map(_shown, self._possible.get(one, [None])))}"
                for one in wrong
            ]

    def never_were(self, seen: Iterable[tuple[str, str]]) -> list[str]:
        """Those of the contents seen that their documents never had."""
        with self._lock:
            return [
                f"{document_id}: {_shown(content)}, which it never was"
                for document_id, content in seen
                if content not in self._ever[document_id]
            ]


class Texts:
    """Texts that are all different, of letters that the tests' model reads."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = Lock()

    def next(self, words: int = 3) -> str:
        with self._lock:
            number = next(self._numbers)
        word = "".join("abcdefghij"[int(digit)] for digit in str(number))
        return " ".join([word] * words)


def _shown(content: Content) -> str:
    return "nothing" if content is None else repr(content[:40])
