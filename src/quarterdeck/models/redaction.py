"""What a server says, without the keys that it was shown: some servers and proxies repeat them in what they answer.

Rules
- A secret is found as it was sent and as JSON writes it, also where it arrives in pieces.
- Nothing waits that cannot be the beginning of a secret: a stream's events end in a line break, and are passed at once.
- A short key keeps no secret and is a part of words. In an answer, which is somebody's text, only a long one is taken
  out.
"""

import json
from base64 import b64decode
from functools import lru_cache
from typing import Final

_LEAST: Final = 6
"""Letters of a secret in an error."""
_LEAST_IN_ANSWERS: Final = 16
"""Letters of a secret in an answer: nobody writes so long a word by chance."""
_INSTEAD: Final = b"[key]"


def secrets(key: str | None, authorization: str | None) -> tuple[str, ...]:
    """What a request shows that nobody else may see. `authorization`: what the server's address itself brings, of the
    basic kind."""
    found = [key or ""]
    if authorization is not None:
        pair = authorization.rpartition(" ")[2]
        found += [pair, b64decode(pair).decode().partition(":")[2]]
    return tuple(secret for secret in found if len(secret) >= _LEAST)


@lru_cache(maxsize=64)
def spellings(kept: tuple[str, ...], *, error: bool) -> tuple[bytes, ...]:
    """As they may stand in an answer, the longest first; `error`: in one that says what went wrong."""
    least = _LEAST if error else _LEAST_IN_ANSWERS
    found = {
        spelt.encode()
        for secret in kept
        if len(secret) >= least
        for spelt in (secret, secret.replace("/", "\\/"), json.dumps(secret)[1:-1])
    }
    return tuple(sorted(found, key=len, reverse=True))


def without(kept: tuple[bytes, ...], data: bytes) -> bytes:
    """The same without these spellings."""
    for secret in kept:
        data = data.replace(secret, _INSTEAD)
    return data


class Redactor:
    """Takes secrets out of what comes in pieces."""

    def __init__(self, kept: tuple[bytes, ...]) -> None:
        """`kept`: as `spellings` gives them."""
        self._kept = kept
        self._letters = frozenset(b"".join(kept))
        self._begun = b""

    def feed(self, piece: bytes) -> bytes:
        """What can go on now."""
        if not self._kept:
            return piece
        data = without(self._kept, self._begun + piece)
        held = self._beginning(data) if data and data[-1] in self._letters else 0
        cut = len(data) - held
        self._begun = data[cut:]
        return data[:cut]

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._begun)

    def rest(self) -> bytes:
        """What was held back, at the end."""
        found, self._begun = self._begun, b""
        return found

    def _beginning(self, data: bytes) -> int:
        """Bytes at the end that may be the beginning of a secret."""
        lengths = (
            length
            for secret in self._kept
            for length in range(len(secret) - 1, 0, -1)
            if data.endswith(secret[:length])
        )
        return max(lengths, default=0)
