"""What the command line asks of a deck. The composition root provides it; nothing else of the product is asked.

Rules
- Values in, values out: the command line shows, it does not decide.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from quarterdeck.delivery.order import Check, Cli, Order, RevertOrder, RunResult
from quarterdeck.doors.serve import Serving
from quarterdeck.engine.seats import Place
from quarterdeck.gateway.port import Metering, Standing
from quarterdeck.govern.chain import DayCaps
from quarterdeck.journal.firings import FiringView
from quarterdeck.journal.port import Journal, Record, Verification
from quarterdeck.journal.views import ApprovalView, AttemptView, Views
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.events import RunCreated
from quarterdeck.kernel.failures import QuarterdeckError
from quarterdeck.settings import Settings
from quarterdeck.tools.shed.board import ServerView
from quarterdeck.triggers.port import TriggerView


class OutsideApi(Protocol):
    """What of a deck concerns the world outside."""

    async def views(self) -> list[TriggerView]:
        """What may start runs from outside, and how that went."""
        ...

    async def attended(self) -> bool:
        """Whether a living process serves the deck that has one of these triggers in its file."""
        ...

    async def fire(self, name: str, payload: str | None) -> FiringView | None:
        """Try a trigger with a message of one's own; what became of it, None = that is decided later. Raises NotFound,
        BadInput."""
        ...

    async def for_issue(self, reference: str, order: Order, *, here: bool) -> Order:
        """The order for an issue of the GitHub server. `here`: its repository is the one that the order names. Raises
        BadInput, NotFound, Conflicting, OutsideFailed, GitFailed."""
        ...

    async def publish(self, run: str) -> str:
        """Take a run's result to the GitHub server once more; what is wrong, empty = nothing. Raises NotFound,
        Conflicting."""
        ...

    async def published(self, run: str) -> tuple[str, str]:
        """Where a run's pull request is seen, and what was wrong when it was last tried; each may be empty."""
        ...


class DeckApi(Protocol):
    """One open deck."""

    @property
    def settings(self) -> Settings: ...

    @property
    def views(self) -> Views: ...

    @property
    def journal(self) -> Journal: ...

    @property
    def outside(self) -> OutsideApi: ...

    def on_trouble(self, tell: Callable[[QuarterdeckError | None], None]) -> None:
        """Call `tell` when the database keeps the work from going on, and with None when it goes on again."""
        ...

    async def create(self, order: Order) -> str:
        """Store the run; returns its id. Raises BadPlan, BadConfiguration, BadRepository, SandboxUnavailable."""
        ...

    async def revert(self, order: RevertOrder) -> str:
        """Store a run that takes back what landed; returns its id. Raises Conflicting, NotFound, as `create`."""
        ...

    async def ordered(self, run: str) -> RunCreated:
        """The run as it was ordered. Raises NotFound."""
        ...

    async def frozen(self, run: str) -> RunConfig:
        """The configuration that the run was created with."""
        ...

    async def work(self, run: str) -> None:
        """Own the engine if possible and serve, else follow; returns when the run is finished, waiting or paused."""
        ...

    async def serve(self, drain: float = 0.0) -> None:
        """Own the engine whenever that is possible and perform whatever comes, until cancelled; what has begun by then
        gets `drain` seconds. Raises Fenced."""
        ...

    def serving(self, host: str, port: int, names: Sequence[str] = ()) -> AbstractAsyncContextManager[Serving]:
        """The API, the dashboard and the gateway on a port; `names`: host names under which they may be asked. Raises
        BadConfiguration."""
        ...

    def standing(
        self, models: Sequence[str], usd: float, host: str, port: int
    ) -> AbstractAsyncContextManager[Standing]:
        """The model gateway alone, with one key that may spend `usd`. Raises BadConfiguration."""
        ...

    def standing_used(self, standing: Standing) -> Metering:
        """What the calls of that key came to so far."""
        ...

    async def control(
        self, run: str, action: str, *, answer: str | None = None, budget_usd: float | None = None
    ) -> None:
        """Ask durably for `pause`, `resume` or `cancel`."""
        ...

    async def tell(self, kind: str, id: str, text: str) -> tuple[AttemptView, str]:
        """Say something to an agent at work, durably: (whom, the message's id). `kind`, `id`: as `resolve` gives them.
        Raises BadInput, NotFound, Conflicting."""
        ...

    async def served(self) -> bool:
        """Whether a server works on the deck's runs: then nobody else has to."""
        ...

    async def approvals(self, *, open: bool = True) -> list[ApprovalView]:
        """What waits for a person's word, longest first; not only `open`: also what was decided."""
        ...

    async def decide(
        self, approval: str, verdict: Literal["approve", "deny"], *, action_hash: str, reason: str, by: str
    ) -> None:
        """Record a person's word about exactly that. Raises NotFound, BadInput; Conflicting where the hash is stale,
        somebody has decided, or the time is over."""
        ...

    async def subject(self, approval: str) -> str:
        """What is asked, whole: the plan as YAML, the change as a diff, the action as JSON. Raises NotFound."""
        ...

    async def moved(self, run: str) -> None:
        """Until a run that waits, or is paused, has something to do: somebody decided, or the time for it is over."""
        ...

    async def answer(self, run: str, text: str, *, attempt: str | None = None, by: str) -> None:
        """Answer a question; `attempt`: which one, where several are open. Raises NotFound, Conflicting, BadInput."""
        ...

    async def retry(self, run: str, task: str, *, agent: str | None = None, by: str) -> None:
        """Have a task tried again, also after its run has ended. Raises NotFound, Conflicting."""
        ...

    async def raise_budget(self, run: str, usd: float, *, by: str) -> None:
        """Give an unfinished run more money; `usd`: its new budget. Raises NotFound, Conflicting, BadInput."""
        ...

    async def comment(self, attempt: str, path: str, line: int | None, text: str, *, by: str) -> None:
        """Say something about a change to whoever works on its task, or will. Raises NotFound, Conflicting,
        BadInput."""
        ...

    async def day_caps(self) -> DayCaps:
        """What may be spent in a day now, by what holds over the deck. Raises StoreUnavailable."""
        ...

    async def attended(self) -> bool:
        """Whether a living process works on the deck's runs."""
        ...

    async def settle(self) -> None:
        """Perform what was asked for if nobody owns the deck."""
        ...

    def events(self, run: str) -> AsyncIterator[Record]:
        """The run's records with its attempts' and its gate's, from the beginning. Follows; never ends by itself."""
        ...

    async def result(self, run: str) -> RunResult: ...

    async def report(self, run: str) -> str:
        """Markdown."""
        ...

    async def plan_text(self, run: str) -> str:
        """The plan as YAML."""
        ...

    async def probe(self) -> list[Check]:
        """What `doctor` looks at."""
        ...

    async def clis(self) -> tuple[Cli, ...]:
        """The command lines of agents that are known here, and what of them is on this machine."""
        ...

    async def effective(self, repository: Path) -> tuple[DeckConfig, tuple[str, ...]]:
        """The configuration for a repository, and where its parts come from."""
        ...

    async def current(self, repository: Path) -> RunConfig:
        """The configuration that a new run in that repository would get now."""
        ...

    async def tool_servers(self, repository: Path) -> list[ServerView]:
        """The tool servers that are declared for a repository, and what is known of them. Starts nothing."""
        ...

    async def check_tools(self, repository: Path, names: Sequence[str]) -> dict[str, str]:
        """Start these servers (none named = all that are approved), list their tools, end them again. By name, what
        went wrong. Raises NotFound."""
        ...

    async def approve_tools(self, repository: Path, name: str, env: Sequence[str]) -> ServerView:
        """Let a declared server be started, with these of the operator's variables. Raises NotFound, BadInput."""
        ...

    async def revoke_tools(self, name: str) -> int:
        """Take back every approval of that name; how many there were. Raises NotFound."""
        ...

    async def verify(self, prefix: str = "") -> Verification: ...

    async def export(self, run: str, directory: Path) -> list[Path]:
        """Write everything of a run as files; returns them."""
        ...

    async def resolve(self, id: str) -> tuple[str, str]:
        """(`run`, `task` or `attempt`, full id) of a full id or a unique beginning. Raises NotFound."""
        ...


class OpenDeck(Protocol):
    """A deck that is open inside `async with`."""

    async def __aenter__(self) -> DeckApi: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...


class Opener(Protocol):
    """`quarterdeck.assembly.open_deck`."""

    def __call__(self, settings: Settings, /, *, place: Place = ...) -> OpenDeck: ...
