"""Who may use the server from elsewhere: a file of the home, written by `quarterdeck token`.

Rules
- A token is shown once, when it is made. The file holds its hash: it has 256 random bits, so that a plain hash is
  enough.
- The file is the operator's alone. A token that is taken back is refused from the next request on.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import Field, TypeAdapter

from quarterdeck.kernel.entities import Value
from quarterdeck.kernel.failures import BadInput, Conflicting, NotFound
from quarterdeck.settings.private import read_private, replace_private

TOKENS_FILE: Final = "tokens.json"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,38}[a-z0-9])?")
_BEGINNING: Final = "qd_"
_BYTES: Final = 32


class Role(StrEnum):
    """What the holder of a token may do."""

    VIEWER = "viewer"
    """Look at everything."""
    OPERATOR = "operator"
    """Start and steer runs, answer, approve, deny."""
    ADMIN = "admin"
    """Also raise budgets and run agents without a sandbox."""


class Token(Value):
    """One token, without itself."""

    name: str
    role: Role
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_at: float
    """Seconds since the epoch."""


class _File(Value):
    v: int = 1
    tokens: tuple[Token, ...] = ()


_FILE: Final = TypeAdapter(_File)


def read_tokens(home: Path) -> tuple[Token, ...]:
    """What is in the file; nothing where there is none. Raises BadConfiguration."""
    found = read_private(home / TOKENS_FILE, _FILE, "quarterdeck token add")
    return found.tokens if found is not None else ()


def add_token(home: Path, name: str, role: Role, now: float) -> str:
    """Make a token; returns it, this once. `now`: seconds since the epoch. Raises BadInput, Conflicting."""
    if not _NAME.fullmatch(name):
        why = "it has 1 to 40 of a-z, 0-9 and . _ - and begins and ends with a letter or digit"
        raise BadInput(f"{name[:60]!r} cannot be the name of a token", why=why, fix="quarterdeck token add NAME")
    tokens = read_tokens(home)
    if any(token.name == name for token in tokens):
        raise Conflicting(f"there is a token {name} already", fix=f"quarterdeck token revoke {name}")
    secret = _BEGINNING + secrets.token_urlsafe(_BYTES)
    _write(home, (*tokens, Token(name=name, role=role, hash=_hash(secret), created_at=now)))
    return secret


def revoke_token(home: Path, name: str) -> None:
    """Take a token back. Raises NotFound."""
    tokens = read_tokens(home)
    left = tuple(token for token in tokens if token.name != name)
    if len(left) == len(tokens):
        raise NotFound(f"there is no token {name}", fix="quarterdeck token list")
    _write(home, left)


def match(tokens: Iterable[Token], secret: str) -> Token | None:
    """The token that `secret` is."""
    digest = _hash(secret)
    found = None
    for token in tokens:  # all of them, so that the time says nothing
        if hmac.compare_digest(token.hash, digest):
            found = token
    return found


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _write(home: Path, tokens: tuple[Token, ...]) -> None:
    """Replace the file, whole or not at all. Raises BadConfiguration."""
    replace_private(home / TOKENS_FILE, _File(tokens=tokens).model_dump_json(indent=2) + "\n")
