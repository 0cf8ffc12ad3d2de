"""An order to take something back becomes a run: everything that can be refused is refused here.

Rules
- Only what landed, still stands on the branch and belongs to a run that has ended is taken back.
- What needs a task that is taken back is taken back with it, and only if that is asked for.
- All of it is merged here once, newest first: a conflict is refused with the files and the commits in the way, before
  anything is started. The gate merges and checks again, on the target as it is then.
- Of what a commit changed nothing may be left. It is passed over where something else is left to take back.
- What came and went again since is in nobody's way.
- The checks are those that hold at the target's tip today.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quarterdeck.assembly.configuration import configuration
from quarterdeck.assembly.ordering import check_gate, check_sandbox, fenced, placed, short, store, target
from quarterdeck.assembly.parts import Parts
from quarterdeck.assembly.remote import check_reach, reach, target_of
from quarterdeck.delivery.gate import merging
from quarterdeck.delivery.gate.taking_back import BY, Standing, dependents, inverse, revert_plan, standing, taken_back
from quarterdeck.delivery.order import RevertOrder
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes, remotes
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Landed, Plan, Reverting
from quarterdeck.kernel.events import TaskStatus
from quarterdeck.kernel.failures import Conflicting, NotFound
from quarterdeck.workplace.history import COMMITTER, LogEntry
from quarterdeck.workplace.mirror import Mirror

_SHOWN = 10
_GOAL = 400
_SHA = 12


@dataclass(frozen=True, slots=True)
class Source:
    """The run of which something is taken back, as it stands on the branch."""

    created: e.RunCreated
    plan: Plan
    titles: Mapping[str, str]
    commits: Mapping[str, str]
    """Task to the commit that it landed as."""
    branch: str
    tip: str
    history: Sequence[LogEntry]
    """Of the branch since the run's base, oldest first."""
    standing: Standing

    @property
    def run(self) -> str:
        return self.created.run

    @property
    def elsewhere(self) -> str:
        """What a command about this branch has to say, because the run landed on another one; "" = nothing."""
        return "" if self.branch == short(self.created.into) else f" --into {self.branch}"

    @property
    def again(self) -> bool:
        """The run took something back itself."""
        return bool(self.created.reverts)


async def create(parts: Parts, order: RevertOrder, new: str | None = None) -> str:
    """Store the run that takes back what the order names; returns its id. `new`: the id it gets, None = a new one.

    Raises NotFound, Conflicting, BadConfiguration, BadRepository, SandboxUnavailable.
    """
    run, _, task = order.of.partition(".")
    briefing = await parts.briefings.run(run)
    created = briefing.created
    check_reach(created.repository, briefing.config.runs_on)
    mirror = await parts.workshop.mirror(created.repository)
    source = await _source(parts, mirror, created, order)
    chosen, warnings = choose(source, task, with_dependents=order.with_dependents)
    await _not_twice(parts, source, chosen)
    merging_back = await _merges(mirror, source, chosen)
    empty = [item.task for item in chosen if item not in merging_back]
    if empty:
        warnings += (f"nothing is left to take back of {', '.join(empty[:_SHOWN])}",)
    chosen = merging_back
    found = await configuration(parts.settings.home, mirror, source.tip)
    deck = fenced(found.deck, order.sandbox) if order.sandbox is not None else found.deck
    runs_on = reach(parts, mirror)
    config = placed(RunConfig(deck=deck, default_agent=BY, blueprint="revert", origin=found.origin), runs_on)
    check_gate(config)
    mirror.check_writable()
    named = order.into is not None or created.into_explicit
    into, checkout = await target(mirror, source.branch, named=named)
    await check_sandbox(parts, config)
    new = new or ids.new_run_id(parts.clock.wall())
    plan = revert_plan(_goal(source, task, chosen), chosen, source.titles, again=source.again)
    reverting = Reverting(commits={each.id: item for each, item in zip(plan.tasks, chosen, strict=True)})
    put = parts.journal.put
    event = e.RunCreated(
        run=new,
        goal=plan.goal,
        goal_blob=await put(plan.goal.encode()),
        plan_blob=await put(plan.model_dump_json().encode()),
        repository=mirror.origin.name,
        target=target_of(mirror, into, runs_on),
        base=source.tip,
        into=into,
        into_explicit=named,
        checkout=checkout,
        config_blob=await put(config.model_dump_json().encode()),
        budget_nusd=0,  # no model is asked
        max_parallel=config.deck.deck.max_parallel,
        user=order.user,
        sandbox=config.deck.sandbox.backend,
        reverts=order.of,
        reverts_blob=await put(reverting.model_dump_json().encode()),
    )
    await store(parts, event, plan, warnings)
    probes.hit("run.stored")
    return new


async def _source(parts: Parts, mirror: Mirror, created: e.RunCreated, order: RevertOrder) -> Source:
    view = await parts.views.run(created.run)
    if not view.status.finished:
        raise Conflicting(
            f"{created.run} has not ended",
            why=f"it is {view.status}, and what is taken back under it would be missed by its other tasks",
            fix=f"quarterdeck cancel {created.run}",
        )
    rows = await parts.views.tasks(created.run)
    commits = {row.task: row.commit for row in rows if row.status is TaskStatus.MERGED and row.commit}
    if not commits:
        raise Conflicting(f"nothing of {created.run} landed", fix=f"quarterdeck show {created.run}")
    branch = short(order.into or created.into)
    tip = await mirror.tip(branch)
    if tip is None:
        if order.into:
            raise NotFound(f"there is no branch {branch}", fix="git branch --list")
        raise NotFound(
            f"there is no branch {branch} any more",
            why=f"{created.run} landed there",
            fix="--into BRANCH that holds it",
        )
    await mirror.fetch(tip)
    await mirror.fetch(created.base)
    history = await mirror.log(created.base, tip)
    plan = await parts.briefings.plan(created.plan_blob or await _planned(parts, created.run))
    assert plan is not None, "what landed was planned"
    titles = {row.task: row.title for row in rows}
    stands = standing(history, created.run, commits)
    return Source(created, plan, titles, commits, branch, tip, history, stands)


async def _planned(parts: Parts, run: str) -> str | None:
    """The plan that an agent made."""
    page = await parts.journal.read(ids.run_stream(run))
    return next((r.event.plan_blob for r in page if isinstance(r.event, e.RunPlanned)), None)


def choose(source: Source, task: str, *, with_dependents: bool) -> tuple[tuple[Landed, ...], tuple[str, ...]]:
    """What is to be taken back, newest first, and what a person should know. Raises Conflicting.

    `task`: empty = the whole run.
    """
    landed = source.standing.landed
    newest = tuple(reversed(tuple(landed.values())))
    if not task:
        if not newest:
            raise _nothing(source, source.run)
        left = [name for name in source.commits if name not in landed]
        words = f"not taken back, because {source.branch} does not hold them any more: {', '.join(left[:_SHOWN])}"
        return newest, (words,) if left else ()
    if task not in source.commits:
        raise Conflicting(f"{source.run}.{task} never landed", fix=f"quarterdeck show {source.run}.{task}")
    if task not in landed:
        raise _nothing(source, f"{source.run}.{task}", task)
    # The tasks of a revert only stand in a row: none of them builds on the one before.
    needing = () if source.again else dependents(source.plan, task, landed)
    if needing and not with_dependents:
        raise Conflicting(
            f"{', '.join(needing[:_SHOWN])} {'needs' if len(needing) == 1 else 'need'} {task}",
            why="they landed on top of it and would be left without it",
            fix=f"quarterdeck revert {source.run}.{task} --with-dependents{source.elsewhere}",
        )
    wanted = {task, *needing}
    warnings = (f"taken back too, because they need {task}: {', '.join(needing[:_SHOWN])}",) if needing else ()
    return tuple(item for item in newest if item.task in wanted), warnings


def _nothing(source: Source, what: str, task: str = "") -> Conflicting:
    mine = {source.commits[name] for name in source.standing.taken_back if task in ("", name)}
    if not mine:
        return Conflicting(
            f"{source.branch} does not hold {what}",
            why=f"it landed on {short(source.created.into)}" if source.elsewhere else "the branch was rewritten",
            fix="--into BRANCH that holds it",
        )
    gone = taken_back(source.history)
    named = (entry for entry in source.history if entry.trailers.get(merging.REVERTS_TRAILER) in mine)
    by = [entry for entry in named if entry.commit not in gone]
    runs = list(
        dict.fromkeys(entry.trailers[merging.RUN_TRAILER] for entry in by if merging.RUN_TRAILER in entry.trailers)
    )
    return Conflicting(
        f"{what} is taken back already",
        why="; ".join(map(_told, by[-_SHOWN:])) or f"a later commit of {source.branch} does it",
        fix=f"quarterdeck revert {runs[-1]}{source.elsewhere}   (brings it back)"
        if runs
        else f"git log --grep=Reverts: {source.branch}",
    )


def _goal(source: Source, task: str, chosen: Sequence[Landed]) -> str:
    words = source.titles.get(task, "") if task else source.created.goal.strip().partition("\n")[0]
    what = f"{source.run}.{task}: {words}" if task else f"{source.run}: {words}"
    more = f" (and {len(chosen) - 1} more that need it)" if task and len(chosen) > 1 else ""
    return f"Revert {what[:_GOAL]}{more}"


async def _not_twice(parts: Parts, source: Source, chosen: Sequence[Landed]) -> None:
    """Refuse what another run is taking back at this moment."""
    wanted = {item.commit for item in chosen}
    for view in await parts.views.runs():
        if view.status.finished:
            continue
        other = (await parts.briefings.run(view.run)).created
        if other.reverts_blob is None or other.into != source.branch:
            continue
        if not remotes.same(other.repository, source.created.repository):
            continue
        theirs = Reverting.model_validate_json(await parts.journal.get(other.reverts_blob)).commits.values()
        if wanted.intersection(item.commit for item in theirs):
            raise Conflicting(
                f"{view.run} is taking {other.reverts} back already", fix=f"quarterdeck resume {view.run}"
            )


async def _merges(mirror: Mirror, source: Source, chosen: Sequence[Landed]) -> tuple[Landed, ...]:
    """Take everything back once, in order; returns that of which something is left.

    Raises Conflicting with the first conflict, or where nothing is left of anything.
    """
    onto = source.tip
    left = []
    for item in chosen:
        found = await mirror.merge(onto, await inverse(mirror, item, "for looking", 0))
        if found.tree is None:
            raise await _in_the_way(mirror, source, item, found.conflicts)
        if found.tree != await mirror.tree(onto):
            left.append(item)
            onto = await mirror.commit(found.tree, (onto,), "for looking", author=COMMITTER, when=0)
    if not left:
        tasks = ", ".join(item.task for item in chosen[:_SHOWN])
        raise Conflicting(
            f"{source.branch} does not hold what {chosen[0].run} changed any more ({tasks})",
            why=merging.GONE,
            fix=f"git show {chosen[0].commit[:_SHA]}",
        )
    return tuple(left)


async def _in_the_way(mirror: Mirror, source: Source, item: Landed, paths: Sequence[str]) -> Conflicting:
    later = standing_of(await merging.touching(mirror, item.commit, source.tip, paths))
    shown = [_told(entry) for entry in later[-_SHOWN:]]
    if len(later) > _SHOWN:
        shown.insert(0, f"{len(later) - _SHOWN} more")
    files = ", ".join(paths[:_SHOWN]) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
    fix = f"take back what came later first, or change {files} by hand on {source.branch}"
    newest = later[-1].trailers if later else {}
    if merging.TASK_TRAILER in newest:
        fix = (
            f"quarterdeck revert {newest.get(merging.RUN_TRAILER, 'RUN')}.{newest[merging.TASK_TRAILER]}"
            f"{source.elsewhere}   (then again)"
        )
    return Conflicting(
        f"{item.run}.{item.task} cannot be taken back: later changes of {merging.readable(files)} are in the way",
        why="; ".join(shown) or "the paths have been renamed since",
        fix=fix,
    )


def standing_of(later: Sequence[LogEntry]) -> list[LogEntry]:
    """Those commits, oldest first, that are neither taken back nor only take another one of them back."""
    gone = taken_back(later) & {entry.commit for entry in later}
    return [
        entry for entry in later if entry.commit not in gone and entry.trailers.get(merging.REVERTS_TRAILER) not in gone
    ]


def _told(entry: LogEntry) -> str:
    task = entry.trailers.get(merging.TASK_TRAILER)
    origin = f", task {task} of {entry.trailers.get(merging.RUN_TRAILER)}" if task else ""
    return f"{entry.commit[:_SHA]} ({entry.subject[:80]}{origin})"
