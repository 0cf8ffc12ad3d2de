"""What a job needs to know about its run: read once from the journal, then kept.

Rules
- Everything here is frozen when the run is created or planned, so a kept value is never stale.
"""

from dataclasses import dataclass
from typing import TypeVar

from quarterdeck.journal.port import Journal
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Plan
from quarterdeck.kernel.events import RunCreated
from quarterdeck.kernel.failures import NotFound

T = TypeVar("T")
_KEPT = 64


@dataclass(frozen=True, slots=True)
class Briefing:
    """One run's order and frozen configuration."""

    created: RunCreated
    config: RunConfig


class Briefings:
    """Reads and keeps briefings and plans."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._runs: dict[str, Briefing] = {}
        self._configs: dict[str, RunConfig] = {}
        self._plans: dict[str, Plan] = {}

    async def run(self, run: str) -> Briefing:
        """The briefing of that run. Raises NotFound."""
        known = self._runs.get(run)
        if known is None:
            first = await self._journal.read(ids.run_stream(run), limit=1)
            if not first or not isinstance(first[0].event, RunCreated):
                raise NotFound(f"there is no run {run}", fix="quarterdeck ps")
            created = first[0].event
            known = Briefing(created, await self.config(created.config_blob))
            _keep(self._runs, run, known)
        return known

    async def config(self, blob: str) -> RunConfig:
        """The frozen configuration stored under that digest."""
        if blob not in self._configs:
            _keep(self._configs, blob, RunConfig.model_validate_json(await self._journal.get(blob)))
        return self._configs[blob]

    async def plan(self, blob: str | None) -> Plan | None:
        """The plan stored under that digest; None for None."""
        if blob is None:
            return None
        if blob not in self._plans:
            _keep(self._plans, blob, Plan.model_validate_json(await self._journal.get(blob)))
        return self._plans[blob]


def _keep(kept: dict[str, T], key: str, value: T) -> None:
    while len(kept) >= _KEPT:
        del kept[next(iter(kept))]
    kept[key] = value
