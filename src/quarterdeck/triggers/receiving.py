"""What the door does with a message before it answers: believe it or not, and put it on record.

Rules
- A message is answered with success only when it is on record; then it makes one run, whatever happens to the process.
- A stranger learns nothing: an unknown trigger, a wrong signature and a missing secret are answered alike, and take as
  long. That somebody knocked is on record, at most once in a minute for each trigger that there is.
- A message that came before is answered as one that was taken: its sender has done its part.
- What is believed, but is not meant for its trigger, leaves no record.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from quarterdeck.engine.port import Engine
from quarterdeck.journal.firings import Firings
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.events.outside import TriggerRefused
from quarterdeck.kernel.triggers import TriggerSection
from quarterdeck.triggers import port, signature
from quarterdeck.triggers.messages import Ignored
from quarterdeck.triggers.orders import read
from quarterdeck.triggers.port import Configured, Received, Secrets

_log = logging.getLogger(__name__)

Receipt = Literal["accepted", "duplicate", "ignored", "stranger", "unreadable"]
"""Taken and on record; came before; not meant for this trigger; not believed; believed, but not readable."""

_QUIET_SECONDS: Final = 60.0
_NOBODY: Final = "no trigger has this secret"


@dataclass(slots=True)
class _Knocks:
    """Strangers at one trigger since it was last recorded."""

    count: int = 0
    recorded: float = float("-inf")


class Receiving:
    """Believes messages, and puts them on record."""

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        firings: Firings,
        configured: Configured,
        secrets: Secrets,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._firings = firings
        self._configured = configured
        self._secrets = secrets
        self._clock = clock
        self._knocks: dict[str, _Knocks] = {}

    async def receive(self, name: str, headers: Mapping[str, str], body: bytes) -> Receipt:
        """What becomes of a message to the trigger `name`. `headers`: names in lower case. Raises StoreUnavailable."""
        section = self._configured().triggers.get(name)
        if (problem := self._unbelieved(section, headers, body)) or section is None:
            if section is not None and section.kind != "cron":
                await self._knocked(name, problem)
            return "stranger"
        received = self._received(name, section, headers, body)
        if received is None:
            return "unreadable"
        if await self._firings.firing(name, received.delivery) is not None:
            return "duplicate"
        if isinstance(read(section, received), Ignored):
            return "ignored"
        await self.put(received)
        return "accepted"

    async def put(self, received: Received) -> None:
        """Put a message on record that was believed."""
        blob = await self._journal.put(received.model_dump_json().encode())
        job = port.take(received.trigger, received.delivery, blob)
        await self._journal.commit(also=lambda tx: self._engine.defer(tx, job))

    def _unbelieved(self, section: TriggerSection | None, headers: Mapping[str, str], body: bytes) -> str:
        """Why a message is not believed; empty = it is. Takes as long for a trigger that does not exist."""
        secret = self._secrets(section.secret_env) if section is not None and section.secret_env else None
        secret = secret if secret and signature.usable(secret) else None
        if section is not None and section.kind == "github":
            signed = signature.github_signed(secret or _NOBODY, headers.get("x-hub-signature-256", ""), body)
            problem = "" if signed else "the signature does not match"
        else:
            problem = signature.flaw(secret or _NOBODY, headers, body, self._clock.wall())
        if section is not None and not secret:
            return f"the variable {section.secret_env} with its secret is not set, or holds no key"
        return problem

    def _received(self, name: str, section: TriggerSection, headers: Mapping[str, str], body: bytes) -> Received | None:
        github = section.kind == "github"
        delivery = headers.get("x-github-delivery" if github else "webhook-id", "")
        event = headers.get("x-github-event", "") if github else ""
        sound = 0 < len(delivery) <= 100 and delivery.isascii() and delivery.isprintable() and len(event) <= 100
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            return None
        if not sound or "\0" in text:
            return None
        fingerprint = ids.digest(event.encode() + b"\n" + body) if github else ""
        return Received(
            trigger=name, delivery=delivery, event=event, body=text, fingerprint=fingerprint, at=self._clock.wall()
        )

    async def _knocked(self, name: str, problem: str) -> None:
        """Put on record that somebody was not believed, rarely enough that nobody can fill the journal with it."""
        knocks, now = self._knocks.setdefault(name, _Knocks()), self._clock.monotonic()
        knocks.count += 1
        if now - knocks.recorded < _QUIET_SECONDS:
            return
        count, knocks.count, knocks.recorded = knocks.count, 0, now
        _log.warning("trigger %s: a message was not believed: %s", name, problem)
        wall = self._clock.wall()
        event = TriggerRefused(
            trigger=name, delivery=f"stranger/{wall:.3f}", code="signature", reason=problem[:2000], count=count
        )
        job = port.record(event, event.delivery)
        await self._journal.commit(also=lambda tx: self._engine.defer(tx, job))
