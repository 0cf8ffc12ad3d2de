"""The simulated prompt cache: which tokens a provider would have read from, or written to, its cache.

Rules
- Anthropic: explicit. A breakpoint writes the prefix up to it; a later request reads the longest prefix that ends at
  one of its breakpoints or up to 20 blocks before it. Shorter than 1,024 tokens is never cached.
- OpenAI: automatic. The longest prefix seen before is read, from 1,024 tokens on in steps of 128; writing is free.
- Tokens are characters divided by the scenario's `chars_per_token`, counted over the whole prefix, so that the kinds
  always add up to the whole prompt.
- The only state is a bounded set of prefix digests per scenario; nothing expires with time, so figures repeat.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.models.scripted.heard import Format, Heard, Segment

MINIMUM: Final = 1024
STEP: Final = 128
LOOK_BACK: Final = 20


@dataclass(frozen=True, slots=True)
class Counted:
    """Input tokens by kind; they do not overlap."""

    input: int
    read: int = 0
    write: int = 0
    long_write: int = 0
    """How many of `write` are kept for an hour."""


@dataclass(slots=True)
class PrefixCache:
    """Digests of the prefixes that were sent before."""

    limit: int = 50_000
    _seen: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def count(self, request: Heard, chars_per_token: int) -> Counted:
        """Count the prompt of `request` and remember it."""
        if request.format is Format.MESSAGES:
            return self._explicit(request.model, request.segments, chars_per_token)
        if request.format is Format.OLLAMA:
            return Counted(prompt_tokens(request, chars_per_token))
        return self._automatic(request, chars_per_token)

    def _explicit(self, model: str, segments: tuple[Segment, ...], chars: int) -> Counted:
        ends = _prefixes(model, segments, chars)
        total = ends[-1][1] if ends else 0
        marks = [index for index, segment in enumerate(segments) if segment.breakpoint and ends[index][1] >= MINIMUM]
        read_to = -1
        for mark in reversed(marks):
            near = range(mark, max(-1, mark - LOOK_BACK), -1)
            read_to = max(read_to, next((index for index in near if ends[index][0] in self._seen), -1))
        read = ends[read_to][1] if read_to >= 0 else 0
        write_to = marks[-1] if marks and marks[-1] > read_to else -1
        write = ends[write_to][1] - read if write_to >= 0 else 0
        long = segments[write_to].breakpoint == "1h" if write_to >= 0 else False
        for mark in marks:
            self._remember(ends[mark][0])
        if read_to >= 0:
            self._remember(ends[read_to][0])
        return Counted(input=total - read - write, read=read, write=write, long_write=write if long else 0)

    def _automatic(self, request: Heard, chars: int) -> Counted:
        text = "".join(segment.text for segment in request.segments)
        total = -(-len(text) // chars)
        digest = hashlib.sha256(f"{request.model}\0{request.cache_key}\0".encode())
        read, at = 0, 0
        found = []
        for tokens in range(MINIMUM, total + 1, STEP):
            digest.update(text[at : tokens * chars].encode())
            at = tokens * chars
            found.append((digest.digest(), tokens))
        for prefix, tokens in found:
            if prefix in self._seen:
                read = tokens
            self._remember(prefix)
        return Counted(input=total - read, read=read)

    def _remember(self, prefix: bytes) -> None:
        self._seen[prefix] = None
        self._seen.move_to_end(prefix)
        while len(self._seen) > self.limit:
            self._seen.popitem(last=False)


def _prefixes(model: str, segments: tuple[Segment, ...], chars: int) -> list[tuple[bytes, int]]:
    digest = hashlib.sha256(model.encode())
    ends, length = [], 0
    for segment in segments:
        digest.update(segment.text.encode() + b"\0")
        length += len(segment.text)
        ends.append((digest.digest(), -(-length // chars)))
    return ends


def prompt_tokens(request: Heard, chars_per_token: int) -> int:
    """Tokens of the whole prompt, cached or not."""
    return -(-sum(len(segment.text) for segment in request.segments) // chars_per_token)
