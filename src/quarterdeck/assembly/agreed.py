"""What may be done over the whole deck, where every machine has a file of its own: `govern.agreeing`, by what is kept
in the deck's database.

Rules
- What the file of any machine at work says holds on all of them, also on those whose files say nothing; of several, the
  least. A machine is at work while a process of it performs jobs, serves, or asks models.
- It says what its file says when it begins, within seconds of a change of the file, and again each minute. What the
  others say is read every few seconds.
- What a machine said that is gone counts for five more minutes beside what the others say; and then as long as no
  machine at work says anything about it: a limit does not end with who set it. A process that is there for one run
  alone has no such lasting word, but corrects that of its home: it neither begins nor ends there.
- A machine is known by its home. A process that begins again there says it anew, so what is not in the file any more
  does not count any more.
- While the database is away, what was known last holds, and what the own file says.
- A deck that lies in its home has no other file: nothing is written down.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from quarterdeck.govern.agreeing import STARTS, Kind, Said, number
from quarterdeck.govern.chain import DayCaps
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import OperatorConfig, RunConfig
from quarterdeck.kernel.entities import to_nusd, to_usd
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.store.port import Store, Tx

_log = logging.getLogger(__name__)

_SAY: Final = 60.0
_LOOK: Final = 5.0
_COUNTS: Final = 300.0
"""Seconds."""
_FILE: Final = "machine"
_NEVER: Final = float("-inf")


def said_by(file: OperatorConfig) -> Said:
    """What an operator's file says about the whole deck. Pure."""
    limits, budget = file.limits, file.budget
    days = {"user": budget.user_day, "deck": budget.deck_day}
    return {
        **{("calls_per_minute", name): most for name, most in file.workers.calls_per_minute.items()},
        **{("calls_at_once", name): most for name, most in file.workers.calls_at_once.items()},
        **{("days", who): to_nusd(usd) for who, usd in days.items() if f"{who}_day" in budget.model_fields_set},
        **{("notify", kind): 1 for kind in (file.notify.kinds if file.notify.url is not None else ())},
        **{("trigger", name): 1 for name in file.triggers},
        **{("limits", key): number(getattr(limits, key)) for key in STARTS if key in limits.model_fields_set},
    }


class Words:
    """What this machine's file says now. file: as it is now, the same value as long as it has not changed."""

    def __init__(self, file: Callable[[], OperatorConfig]) -> None:
        self._file = file
        self._read: OperatorConfig | None = None
        self._said: Said = {}

    def __call__(self) -> Said:
        if (file := self._file()) is not self._read:
            self._said, self._read = said_by(file), file
        return self._said


def machine_of(home: Path) -> str:
    """The name of the machine that has this home, for the others: made once. A copy of a home has its name. Where
    nothing can be kept there, as long as its disk is full, it is one for the moment."""
    file, fresh = home / _FILE, f"{socket.gethostname()[:100]}/{secrets.token_hex(8)}"
    beside = file.with_name(f"{_FILE}.{os.getpid()}")
    try:
        if not file.exists():
            beside.write_text(fresh, encoding="utf-8")
            with suppress(FileExistsError):  # another process was faster
                file.hardlink_to(beside)
            beside.unlink()
        return file.read_text(encoding="utf-8")
    except OSError as error:
        _log.warning("this machine has a new name for the others, because none can be kept in its home: %s", error)
        return fresh


class Agreed:
    """What holds, as this process knows it. machine: as the others know it. own: what its file says now. alone: there
    is no other file."""

    def __init__(
        self, store: Store, machine: Callable[[], str], clock: Clock, own: Callable[[], Said], *, alone: bool = False
    ) -> None:
        self._store = store
        self._machine = machine
        self._clock = clock
        self._own = own
        self._alone = alone
        self._known: Said = {}
        self._lasting = True
        self._home = ""
        self._name = ""
        """By which the others know this machine; empty = it is not at work, so that its file does not count."""
        self._said: Said | None = None
        """None = nothing was said yet."""
        self._said_at = self._looked_at = _NEVER
        self._asking = asyncio.Lock()
        self._telling: asyncio.Task[None] | None = None

    def now(self, kind: Kind, name: str) -> int | None:
        """The most of it, by what is known; None = nobody says anything."""
        own, others = self._mine().get((kind, name)), self._known.get((kind, name))
        return others if own is None else own if others is None else min(own, others)

    def limits(self, tx: Tx, now: float) -> Mapping[str, int]:
        """What holds at `now` of `[limits]`, by key, as the transaction finds it."""
        found = {name: most for (kind, name), most in self._mine().items() if kind == "limits"}
        if not self._alone:
            for row in tx.run("told_limits", holder=self._name, now=now):
                key, most = str(row["provider"]), int(row["most"])
                found[key] = min(most, found.get(key, most))
        return found

    def _mine(self) -> Said:
        """What the own file says now, where it counts."""
        return self._own() if self._alone or self._name else {}

    async def most(self, kind: Kind, name: str) -> int | None:
        """The most of it for a process that is at work."""
        await self.tell()
        return self.now(kind, name)

    def of(self, kind: Kind) -> Callable[[str], Awaitable[int | None]]:
        """`most` of one kind."""
        return partial(self.most, kind)

    async def begin(self, *, lasting: bool) -> None:
        """This process is at work from now on, until `end`; `lasting`: what it says holds on when it is gone. Only the
        first time counts."""
        if self._telling is None and not self._alone:
            self._lasting = lasting
            await self.tell()
            self._telling = asyncio.create_task(self._keep_telling())

    async def end(self) -> None:
        """Idempotent."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
            self._telling = None

    async def tell(self) -> None:
        """Say what the own file says, and look what the others say, where it is time to."""
        if self._alone:
            return
        self._home = self._home or self._machine()
        self._name = self._name or self._home + ("" if self._lasting else f"/{secrets.token_hex(4)}")
        async with self._asking:
            try:
                await self._say(self._own())
                await self._look()
            except StoreUnavailable as error:  # said by whoever cannot do without it
                _log.info("what the deck may do could not be agreed on: %s", error)

    async def look(self) -> None:
        """Look what they say now, without being at work. Raises StoreUnavailable."""
        if not self._alone:
            self._looked_at = _NEVER
            await self._look()

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            await self.tell()

    async def _say(self, own: Said) -> None:
        now = self._clock.monotonic()
        if own == self._said and (not own or now - self._said_at < _SAY):
            return
        machine, lasting = self._name, int(self._lasting)

        def work(tx: Tx) -> None:
            shared = float(tx.run("deck_now")[0]["now"])
            tx.run("told_unsay", holder=machine, now=shared)
            if not lasting:
                self._correct(tx, own)
            for (kind, provider), most in sorted(own.items()):
                if lasting:
                    tx.run("told_forget", kind=kind, provider=provider, now=shared)
                what = {"kind": kind, "provider": provider, "holder": machine, "most": most, "lasting": lasting}
                tx.run("told_say", **what, until=shared + _COUNTS)

        await self._store.write(work)
        self._said, self._said_at, self._looked_at = dict(own), now, _NEVER

    def _correct(self, tx: Tx, own: Said) -> None:
        """What the home's file said when another process was there is what it says now, as long as that counts."""
        for row in tx.run("told_by", holder=self._home):
            key = {"kind": row["kind"], "provider": row["provider"], "holder": self._home}
            most = own.get((row["kind"], row["provider"]))
            if most is None:
                tx.run("told_withdraw", **key)
            elif most != row["most"]:
                tx.run("told_say", **key, most=most, until=row["until"], lasting=1)

    async def _look(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at < _LOOK:
            return
        shared = float((await self._store.read("deck_now"))[0]["now"])
        rows = await self._store.read("told_least", holder=self._name, now=shared)
        self._known, self._looked_at = {(row["kind"], row["provider"]): int(row["most"]) for row in rows}, now


class Days:
    """What may be spent in a day now. file: this machine's, which holds where nobody says anything."""

    def __init__(self, agreed: Agreed, file: Callable[[], OperatorConfig]) -> None:
        self._agreed = agreed
        self._file = file

    def now(self) -> DayCaps:
        """By all runs of the deck, and by one person's."""
        budget = self._file().budget
        user, deck = self._agreed.now("days", "user"), self._agreed.now("days", "deck")
        return DayCaps(
            budget.user_day if user is None else to_usd(user), budget.deck_day if deck is None else to_usd(deck)
        )

    def __call__(self, config: RunConfig) -> DayCaps:
        """By the runs of that configuration: its repository may have narrowed it."""
        most, said = self.now(), config.narrowed
        user = most.user if said.user_day is None else min(most.user, said.user_day)
        deck = most.deck if said.deck_day is None else min(most.deck, said.deck_day)
        return DayCaps(user, deck)
