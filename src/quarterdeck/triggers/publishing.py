"""Takes a run's result to the GitHub server: the branch, the pull request with the report, a comment where it helps.

Rules
- The job is deferred in the transaction in which the run ends or begins to wait, so no result is forgotten. Whether the
  run came from the server is looked at first, by anybody: what did not waits for no token.
- Each step is looked for before it is done and recorded after: the branch moves forward to a commit, a pull request is
  found by its branch, a comment by its mark. A process that died in between has done nothing twice.
- The branch that a pull request is for is never pushed to.
- What landed in a repository of one machine is taken from there by a worker of that machine.
- What cannot be reached is tried again, ever more rarely, for about a day; what is refused is recorded, for a person.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from quarterdeck.delivery.order import RunResult
from quarterdeck.engine.port import Engine, Job
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.journal.views import Views
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.events import RunCreated, RunStatus
from quarterdeck.kernel.events import outside as e
from quarterdeck.kernel.events.base import EventBase
from quarterdeck.kernel.failures import (
    FailureClass,
    GitFailed,
    NotFound,
    OutsideFailed,
    QuarterdeckError,
    StoreUnavailable,
)
from quarterdeck.kernel.triggers import Origin
from quarterdeck.triggers import port, words
from quarterdeck.triggers.github import Github
from quarterdeck.triggers.port import Orders, Remotes

FINISHED: Final = "finished"
WAITING: Final = "waiting"
PAUSES: Final = (2.0, 10.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 28800.0)
"""Seconds between one try and the next; after the last of them it is given up."""


def pause_after(number: int, wish: float | None) -> float | None:
    """Seconds until the next try after `number` of them; None = it is given up. `wish`: the other side's. Pure."""
    if number > len(PAUSES):
        return None
    return max(PAUSES[number - 1], wish or 0.0)


@dataclass(frozen=True, slots=True)
class _Job:
    """A result on its way."""

    claim: Claim
    run: str
    created: RunCreated
    origin: Origin
    done: tuple[EventBase, ...]
    """What is on record already."""


class Publishing:
    """Handlers of `run.publish` and `run.origin`."""

    def __init__(
        self, journal: Journal, engine: Engine, views: Views, orders: Orders, remotes: Remotes, github: Github
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._views = views
        self._orders = orders
        self._remotes = remotes
        self._github = github

    async def look(self, job: Job) -> None:
        """Handler of `run.origin`."""
        run, about = str(job.payload["run"]), str(job.payload["about"])
        if await self._origin(run) is not None:
            publish = port.publish(run, about)
            await self._journal.commit(also=lambda tx: self._engine.defer(tx, publish))

    async def _origin(self, run: str) -> tuple[RunCreated, Origin] | None:
        """The run, and where on the server it came from; None where it did not, or its records were pruned."""
        first = await self._journal.read(ids.run_stream(run), limit=1)
        created = first[0].event if first else None
        if not isinstance(created, RunCreated) or created.origin_blob is None:
            return None
        origin = Origin.model_validate_json(await self._journal.get(created.origin_blob))
        return (created, origin) if origin.repository else None

    async def publish(self, job: Job) -> None:
        """Handler of `run.publish`."""
        run, about, number = str(job.payload["run"]), str(job.payload["about"]), int(job.payload["number"] or 1)
        stream = ids.publish_stream(run)
        claim = await self._journal.claim(stream)
        found = await self._origin(run)
        if found is None:
            return
        created, origin = found
        if needed := await self._orders.elsewhere(run):
            there = replace(port.publish(run, about, number), runs_on=needed)
            await self._journal.commit(also=lambda tx: self._engine.defer(tx, there))
            return
        done = tuple(record.event for record in await self._journal.read(stream))
        at = _Job(claim, run, created, origin, done)
        try:
            await (self._waiting(at) if about == WAITING else self._finished(at))
        except StoreUnavailable:
            raise
        except QuarterdeckError as error:
            await self._failed(claim, run, about, number, error)

    async def _finished(self, at: _Job) -> None:
        result = await self._orders.result(at.run)
        if not result.status.finished or result.status is RunStatus.CANCELLED:
            return  # it was resumed meanwhile, and comes here again; or a person took it back
        landed = result.target.sha != at.created.base
        pull = await self._published(at, result) if at.origin.publish and landed else ""
        if at.origin.issue is not None and result.status is not RunStatus.DONE:
            about = f"{result.status}/{result.target.sha[:12]}/{len(result.tasks)}"
            await self._comment(at, about, words.failed(result, pull))

    async def _published(self, at: _Job, result: RunResult) -> str:
        """Push the branch, open the pull request; where it is seen."""
        branch, commit, repository = result.target.branch, result.target.sha, at.origin.repository
        if branch == at.origin.base:
            why = "nothing is pushed to the branch that the pull request would be for"
            fix = "let the trigger land on a branch of its own: leave out `into`"
            raise OutsideFailed(f"{branch} is not published", FailureClass.POLICY, why=why, fix=fix)
        if not any(isinstance(event, e.BranchPushed) and event.commit == commit for event in at.done):
            await self._remotes.push(repository, at.created.repository, branch, commit)
            probes.hit("publish.pushed")
            pushed = e.BranchPushed(run=at.run, repository=repository, branch=branch, commit=commit)
            await self._journal.append(at.claim, pushed)
        for event in at.done:
            if isinstance(event, e.PullOpened) and event.commit == commit:
                return event.url
        body = words.pull_body(at.origin, result, await self._report(at.run))
        pull = await self._github.pull_of(repository, branch, at.origin.base)
        found = pull is not None
        if pull is None:
            title = words.pull_title(at.origin, at.created.goal)
            pull = await self._github.open_pull(repository, title=title, branch=branch, base=at.origin.base, body=body)
        else:
            pull = await self._github.describe_pull(repository, pull.number, body)
        probes.hit("publish.opened")
        opened = e.PullOpened(
            run=at.run, repository=repository, number=pull.number, url=pull.url[:1000], commit=commit, found=found
        )
        await self._journal.append(at.claim, opened)
        return pull.url

    async def _report(self, run: str) -> str:
        try:
            return await self._orders.report(run)
        except NotFound:
            return ""

    async def _waiting(self, at: _Job) -> None:
        view = await self._views.run(at.run)
        if view.status is RunStatus.WAITING and at.origin.issue is not None:
            waits = await self._views.waits(at.run)
            asked = "\n\n".join(wait.question for wait in waits) or view.reason
            about = f"waiting/{ids.digest(asked.encode())[:12]}"
            await self._comment(at, about, words.waiting(at.run, asked[:8000]))

    async def _comment(self, at: _Job, about: str, body: str) -> None:
        """Say it once on the issue."""
        repository, issue = at.origin.repository, at.origin.issue
        if issue is None or any(isinstance(event, e.IssueCommented) and event.about == about for event in at.done):
            return
        mark = words.mark_of(at.run, about)
        begun = (await self._views.run(at.run)).created_at
        since = datetime.fromtimestamp(begun - 60.0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        url = await self._github.comment_with(repository, issue, mark, since)
        if not url:
            url = await self._github.comment(repository, issue, words.marked(body, mark))
            probes.hit("publish.commented")
        said = e.IssueCommented(run=at.run, repository=repository, issue=issue, about=about[:100], url=url[:1000])
        await self._journal.append(at.claim, said)

    async def _failed(self, claim: Claim, run: str, about: str, number: int, error: QuarterdeckError) -> None:
        """Try again later, or leave it to a person."""
        passing = isinstance(error, GitFailed) or (
            isinstance(error, OutsideFailed) and error.kind is FailureClass.TRANSIENT
        )
        wish = error.retry_after if isinstance(error, OutsideFailed) else None
        pause = pause_after(number, wish) if passing else None
        reason = str(error)[:2000]
        if pause is None:
            await self._journal.append(
                claim, e.OutboxFailed(about=f"{run}/{about}", reason=reason, fix=error.fix[:2000])
            )
            return
        again = port.publish(run, about, number + 1, pause)
        delayed = e.OutboxDelayed(about=f"{run}/{about}", reason=reason, seconds=pause, number=number)
        await self._journal.append(claim, delayed, also=lambda tx: self._engine.defer(tx, again))
