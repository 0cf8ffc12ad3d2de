"""What was said, put into spans where the operator wants that.

Rules
- Bounded, and never with a secret of this process in it. Without `content` no blob is even read.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from quarterdeck.journal.port import Journal
from quarterdeck.kernel.failures import NotFound
from quarterdeck.telemetry.port import Span

LONGEST: Final = 16 * 1024
"""Characters of one thing that was said."""
_SHORTEST: Final = 8
"""A secret shorter than this is a word."""


class Bodies:
    """The blobs that spans name. `secrets`: what never leaves."""

    def __init__(self, journal: Journal, content: bool, secrets: Sequence[str]) -> None:
        self._journal = journal
        self._content = content
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST]

    async def put_in(self, span: Span) -> Span:
        """The span with what was said in it, or as it is."""
        if not self._content or not span.bodies:
            return span
        said: dict[str, str] = {}
        for name, digest in span.bodies.items():
            try:
                said[name] = self.hide((await self._journal.get(digest)).decode("utf-8", "replace"))[:LONGEST]
            except NotFound:  # it was cleared away: what is known without it is told
                continue
        return replace(span, attributes={**span.attributes, **said})

    def hide(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
