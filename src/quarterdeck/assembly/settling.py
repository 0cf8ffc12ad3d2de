"""What was asked of runs by a process that does not work on them, and how it is seen to have happened.

Rules
- A request is durable before this begins. It is waited for so that a command can say that it was obeyed.
- Where nobody owns the deck, this process decides and records what was asked for, and starts no agent and no check: the
  work of runs is left alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from quarterdeck.assembly.parts import Parts
from quarterdeck.assembly.working import FOLLOW_SECONDS
from quarterdeck.delivery import jobs
from quarterdeck.engine.port import Handler, Job, Later
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import RunStatus

_SETTLE_SECONDS: Final = 30.0
_WISHES: Final = 1_000
"""What was asked for and is waited for; a server never waits for it, and is asked for years."""


class Settling:
    """What this process asked for."""

    def __init__(self, parts: Parts, handlers: Mapping[str, Handler]) -> None:
        self._parts = parts
        self._handlers = handlers
        self._steered: set[str] = set()
        """Runs that something was asked of."""
        self._wishes: deque[Callable[[], Awaitable[bool]]] = deque(maxlen=_WISHES)
        """Whether what was asked for has happened."""

    def asked(self, run: str, happened: Callable[[], Awaitable[bool]]) -> None:
        """Something was asked of that run; `happened` says whether it has been done."""
        self._steered.add(run)
        self._wishes.append(happened)

    async def settle(self) -> None:
        """Perform what was asked for if nobody owns the deck. The work of runs is left alone."""
        engine = self._parts.engine
        if not self._steered or await engine.attended() or not await engine.try_own():
            return
        serving = asyncio.create_task(engine.serve(self._steering(), until_idle=False))
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                mark = 0
                while not all([await happened() for happened in self._wishes]):
                    mark = await self._parts.store.changed(mark, FOLLOW_SECONDS)
        except TimeoutError:
            return  # the request is durable: whoever works on the run next obeys it
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await engine.close()

    def _steering(self) -> Mapping[str, Handler]:
        """Handlers that decide and record, but start no agent and no check."""
        real = self._handlers
        last = (e.Node.APPROVE.value, e.Node.REPORT.value, e.Node.RETROSPECTIVE.value)

        async def work(job: Job) -> None:
            if job.run not in self._steered or job.payload["node"] not in last:
                raise Later(FOLLOW_SECONDS, "only requests are performed now")
            await real[jobs.WORK](job)

        async def check(job: Job) -> None:
            raise Later(FOLLOW_SECONDS, "only requests are performed now")

        return {**real, jobs.WORK: work, jobs.GATE_CHECK: check}

    async def obeyed(self, run: str, action: str) -> bool:
        """Whether the run has done as it was told, or has ended."""
        view = await self._parts.views.run(run)
        ended = view.finished_at is not None
        return ended or (action == "pause" and view.status is RunStatus.PAUSED)
