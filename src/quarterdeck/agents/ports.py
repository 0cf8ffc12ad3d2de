"""What the native harness is built from. One value, so that every part names what it needs of it and nothing else."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from quarterdeck.agents.mail import Mail
from quarterdeck.agents.port import Assignment, Handoff
from quarterdeck.govern.approvals import Approvals
from quarterdeck.govern.port import Policy, Starts, Treasury
from quarterdeck.govern.starts import Windows
from quarterdeck.journal.port import Journal
from quarterdeck.journal.touches import Touches
from quarterdeck.kernel.clock import Clock
from quarterdeck.models.port import ModelFactory
from quarterdeck.tools.shed.shed import Shed
from quarterdeck.tools.toolbox import Toolbox

Inspect = Callable[[Assignment, Handoff], tuple[str, ...]]
"""Problems of a handoff beyond its schema (a plan with a cycle); empty = none. Must be pure and quick."""


def no_problems(assignment: Assignment, handoff: Handoff) -> tuple[str, ...]:
    """Every valid handoff is acceptable."""
    return ()


@dataclass(frozen=True, slots=True)
class Ports:
    journal: Journal
    policy: Policy
    treasury: Treasury
    models: ModelFactory
    toolbox: Toolbox
    clock: Clock
    starts: Starts = field(default_factory=Windows)
    """How fast sub-agents may be started, over the whole deck."""
    inspect: Inspect = no_problems
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: random.Random = field(default_factory=random.Random)
    mail: Mail = field(default_factory=Mail)
    """Where messages of people arrive."""
    shed: Shed | None = None
    """Tools of outside servers; None = there are none here."""
    approvals: Approvals | None = None
    """People's words; None = nobody can be asked here, and what would be asked is not done."""
    touches: Touches | None = None
    """What is changed beside an attempt; None = nobody is warned, and nothing is kept for others."""
