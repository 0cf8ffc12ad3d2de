"""A small ranked search over tools. Pure.

Rules
- Any word of the query may match; the more words match, the rarer they are, and in the name rather than the
  description, the better.
- A word also matches words that begin with it. Equal ranks are in the order of names, so that a search gives the same
  twice.
- The index is made once for a set of tools; a search looks at the words of the query only, not at all tools.
"""

import bisect
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from quarterdeck.tools.shed.catalogue import Entry

MAX_WORDS: Final = 20
"""Of a query."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_SUFFIXES: Final = ("ations", "ation", "ings", "ing", "ies", "ers", "er", "ed", "es", "s", "e", "y")
_STEM: Final = 3
"""Letters that stay at least."""
_IN_NAME: Final = 3.0
_IN_TEXT: Final = 1.0
_BEGINNING: Final = 0.5
_STOP: Final = frozenset(
    ("a", "an", "and", "any", "as", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or", "the", "to", "with")
)


def words(text: str) -> list[str]:
    """The words of a text as they are compared: without case, endings, and words that say nothing."""
    found = (word.lower() for word in _WORD.findall(text))
    return [_stem(word) for word in found if word not in _STOP]


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _STEM:
            return word[: -len(suffix)]
    return word


class Index:
    """A set of tools that can be searched."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries: Sequence[Entry] = sorted(entries, key=lambda entry: entry.name)
        self._weights: dict[str, dict[int, float]] = defaultdict(dict)
        for number, entry in enumerate(self._entries):
            named, said = set(words(f"{entry.server} {entry.tool}")), set(words(entry.description))
            for word in named | said:
                self._weights[word][number] = _IN_NAME if word in named else _IN_TEXT
        self._vocabulary = sorted(self._weights)

    def __len__(self) -> int:
        return len(self._entries)

    def search(self, query: str, limit: int) -> list[Entry]:
        """The best entries, the best first."""
        ranks: dict[int, float] = defaultdict(float)
        for word in dict.fromkeys(words(query)[:MAX_WORDS]):
            best: dict[int, float] = {}
            for match in self._matches(word):
                found = self._weights[match]
                rare = math.log(1.0 + len(self._entries) / len(found))
                share = rare if match == word else rare * _BEGINNING
                for number, weight in found.items():
                    best[number] = max(best.get(number, 0.0), weight * share)
            for number, rank in best.items():
                ranks[number] += rank
        order = sorted(ranks, key=lambda number: (-ranks[number], number))
        return [self._entries[number] for number in order[:limit]]

    def _matches(self, word: str) -> Iterable[str]:
        """Words of the index that are this word or begin with it."""
        if len(word) < _STEM:
            return (word,) if word in self._weights else ()
        start = bisect.bisect_left(self._vocabulary, word)
        end = bisect.bisect_left(self._vocabulary, word + "\U0010ffff", start)
        return self._vocabulary[start:end]
