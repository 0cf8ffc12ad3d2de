"""What the HTTP API asks of a deck. The composition root provides it.

Rules
- Values in, values out: a door exposes, it does not decide.
- `by` is the person who asked, as the door knows them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from quarterdeck.board.shown import Shown
from quarterdeck.delivery.order import Check, Cli, Order, RevertOrder, RunResult
from quarterdeck.doors.api.sessions import Sessions
from quarterdeck.doors.api.trust import Keys
from quarterdeck.journal.port import Journal, Verification
from quarterdeck.journal.views import ApprovalView, AttemptView, Views
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.events import RunCreated
from quarterdeck.settings import Settings
from quarterdeck.tools.shed.board import ServerView


@dataclass(frozen=True, slots=True)
class Backing:
    """What stands behind the API."""

    deck: "Served"
    shown: Shown
    keys: Keys
    sessions: Sessions


class Served(Protocol):
    """One open deck."""

    @property
    def settings(self) -> Settings: ...

    @property
    def views(self) -> Views: ...

    @property
    def journal(self) -> Journal: ...

    async def create(self, order: Order, *, run: str | None = None) -> str: ...

    async def revert(self, order: RevertOrder, *, run: str | None = None) -> str: ...

    async def ordered(self, run: str) -> RunCreated: ...

    async def frozen(self, run: str) -> RunConfig: ...

    async def control(
        self,
        run: str,
        action: str,
        *,
        answer: str | None = None,
        budget_usd: float | None = None,
        by: str | None = None,
    ) -> None: ...

    async def tell(self, kind: str, id: str, text: str, *, by: str | None = None) -> tuple[AttemptView, str]: ...

    async def approvals(self, *, open: bool = True) -> list[ApprovalView]: ...

    async def decide(
        self, approval: str, verdict: Literal["approve", "deny"], *, action_hash: str, reason: str, by: str
    ) -> None: ...

    async def answer(self, run: str, text: str, *, attempt: str | None = None, by: str) -> None: ...

    async def retry(self, run: str, task: str, *, agent: str | None = None, by: str) -> None: ...

    async def raise_budget(self, run: str, usd: float, *, by: str) -> None: ...

    async def comment(self, attempt: str, path: str, line: int | None, text: str, *, by: str) -> None: ...

    async def attended(self) -> bool: ...

    async def result(self, run: str) -> RunResult: ...

    async def report(self, run: str) -> str: ...

    async def plan_text(self, run: str) -> str: ...

    async def export(self, run: str, directory: Path) -> list[Path]: ...

    async def probe(self) -> list[Check]: ...

    async def clis(self) -> tuple[Cli, ...]: ...

    async def effective(self, repository: Path) -> tuple[DeckConfig, tuple[str, ...]]: ...

    async def current(self, repository: Path) -> RunConfig: ...

    async def tool_servers(self, repository: Path) -> list[ServerView]: ...

    async def check_tools(self, repository: Path, names: Sequence[str]) -> dict[str, str]: ...

    async def verify(self, prefix: str = "") -> Verification: ...

    async def resolve(self, id: str) -> tuple[str, str]: ...
