"""What is known of the deck's tool servers, for whoever looks from another process: one small file each, in the home.

Rules
- A file is replaced as a whole; one that cannot be read says nothing.
- It is a picture for people. Nothing is decided by it.
"""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from quarterdeck.kernel.servers import McpServer
from quarterdeck.tools.shed.server import Known

_KNOWN: Final = TypeAdapter(Known)
_MAX_NAMES: Final = 1_000


@dataclass(frozen=True, slots=True)
class ServerView:
    """One declared server as a person sees it."""

    name: str
    declaration: McpServer
    fingerprint: str
    origin: str
    """The file that declares it."""
    approved: bool
    env: tuple[str, ...] = ()
    """Names of the operator's variables that it is given."""
    flaw: str = ""
    """Why it cannot be used, with the command that mends it."""
    known: Known | None = None
    """How it was when it last ran; None = it never did."""


class Board:
    """The files of one home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "tools"

    def tell(self, known: Known) -> None:
        """Write down how a server is. Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = self._file(known.server, known.fingerprint)
        fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        text = json.dumps({**asdict(known), "tools": known.tools[:_MAX_NAMES]})
        try:
            fresh.write_bytes(text.encode("utf-8", "replace"))
            fresh.replace(file)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def look(self, server: str, fingerprint: str) -> Known | None:
        """How it was last; None = nothing is known."""
        try:
            return _KNOWN.validate_json(self._file(server, fingerprint).read_bytes())
        except (OSError, ValidationError):
            return None

    def _file(self, server: str, fingerprint: str) -> Path:
        return self._folder / f"{server}-{fingerprint[:16]}.json"
