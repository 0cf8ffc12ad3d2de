"""One worker of the fleet that `bench_fleet` measures: agents of our own loop, as many at a time as it has places.

usage: python -m bench.fleet_worker CAPACITY      (QUARTERDECK_HOME, QUARTERDECK_DATABASE_URL, ANTHROPIC_BASE_URL)

Rules
- The parts are the deck's own, wired by `assembly`: PostgreSQL, the engine for many workers, the journal, purses of
  run, user and deck, the policy, the action gate, the full set of tools and the shared pace of providers.
- What stands around an agent's work in a run is left out: workspaces of their own, checks, the gate. All agents of a
  process read in one sandbox.
- It says on stdout that it takes jobs, and ends when it is killed. An agent that ends is a failed job.
"""

import asyncio
import gc
import json
import resource
import sys
from typing import Final

from quarterdeck.agents.port import Assignment
from quarterdeck.assembly.descriptors import as_many_as_allowed
from quarterdeck.assembly.parts import Parts, make
from quarterdeck.engine.port import Job
from quarterdeck.engine.queues import WORK
from quarterdeck.engine.seats import Place
from quarterdeck.govern.chain import DayCaps, chain_of
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Harness, Task
from quarterdeck.settings import load_settings, operator_config
from quarterdeck.workplace.port import Sandbox, Spec

AGENT: Final = Agent(name="implementer", prompt="You are careful. You read before you write, and you say what you do.")
TASK: Final = Task(id="part", title="A part", instructions="Read everything there is.", paths=("**",), verify=("true",))
KIND: Final = "fleet.agent"
FILES: Final = 10
BASE: Final = "0" * 40


def job_of(attempt: str) -> Job:
    """The job that is one agent."""
    stream = ids.attempt_stream(attempt)
    return Job(KIND, attempt, stream, ids.split_attempt(attempt)[0], {"attempt": attempt})


async def place_to_read(parts: Parts) -> Sandbox:
    """The sandbox that all agents of this process share, with something to read."""
    sandbox = await parts.providers["bubblewrap"].create(Spec(id="fleet"))
    for number in range(FILES):
        lines = "".join(f"line {line:02d} of the file number {number}, twenty-eight\n" for line in range(26))
        await sandbox.write(f"file{number}.txt", lines.encode())
    return sandbox


class Agents:
    """Performs the jobs."""

    def __init__(self, parts: Parts, sandbox: Sandbox) -> None:
        self._parts = parts
        self._sandbox = sandbox
        self._config = RunConfig(deck=operator_config(parts.settings.home).config)

    async def perform(self, job: Job) -> None:
        """Let one agent work. It has no end of its own: coming back at all is a failure."""
        parts, attempt = self._parts, str(job.payload["attempt"])
        run, task, number = ids.split_attempt(attempt)
        claim = await parts.journal.claim(ids.attempt_stream(attempt))
        started = e.AttemptStarted(
            run=run, task=task, number=number, agent=AGENT.name, harness=Harness.NATIVE, incarnation=1, base=BASE,
            workspace=attempt,
        )  # fmt: skip
        await parts.journal.append(claim, started)
        budget = self._config.deck.budget
        days = DayCaps(budget.user_day, budget.deck_day)
        assignment = Assignment(
            run=run, attempt=attempt, number=number, incarnation=1, agent=AGENT, claim=claim, sandbox=self._sandbox,
            config=self._config, goal="Read", task=TASK, base=BASE,
            chain=chain_of(run=run, task=task, attempt=attempt, user="bench", days=days, now=parts.clock.wall()),
        )  # fmt: skip
        finished = await parts.fleet.native(self._config).work(assignment)
        raise RuntimeError(f"{attempt} came to an end: {finished}")


async def main(capacity: int) -> None:
    as_many_as_allowed()
    parts = await make(load_settings(), place=Place((WORK,), capacity=capacity))
    sandbox = await place_to_read(parts)
    agents = Agents(parts, sandbox)
    parts.fleet.native(agents._config)
    await parts.engine.try_own()
    gc.collect()
    gc.freeze()  # as the command line has it
    sys.stdout.write(json.dumps({"ready": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}) + "\n")
    sys.stdout.flush()
    await parts.engine.serve({KIND: agents.perform}, until_idle=False)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
