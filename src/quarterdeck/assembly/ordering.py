"""An order becomes a run: everything that can be refused is refused here, before anything is started.

Rules
- The plan is looked at first: a bad plan is refused before a sandbox or a key is looked for.
- Then the repository, the configuration, the agents with their models and prices, the target branch, the sandbox.
- A run onto a branch that exists starts from where that branch is, unless a base is named.
- A run exists once its `run.created` is stored, together with its budget and its first job.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from quarterdeck.assembly.configuration import Found, configuration
from quarterdeck.assembly.parts import Parts
from quarterdeck.delivery import jobs
from quarterdeck.delivery.order import Order
from quarterdeck.delivery.plan import check_plan, parse_plan, plan_warnings
from quarterdeck.delivery.planning import PLANNER
from quarterdeck.journal.port import Entry
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Harness, Plan, to_nusd
from quarterdeck.kernel.failures import BadConfiguration, BadInput, BadRepository, MissingPart, SandboxUnavailable
from quarterdeck.kernel.prices import price_of
from quarterdeck.store.port import Tx
from quarterdeck.workplace.mirror import Mirror

MAX_PLAN_BYTES = 8 * 1024 * 1024


async def create(parts: Parts, order: Order) -> str:
    """Store a run; returns its id. Raises BadPlan, BadInput, BadConfiguration, BadRepository, SandboxUnavailable."""
    plan = _plan(order)
    mirror = await parts.workshop.mirror(str(order.repository))
    base = await _base(mirror, order)
    await mirror.fetch(base)
    found = await configuration(parts.settings.home, mirror, base)
    config = _config(order, found)
    if plan is not None:
        check_plan(plan, origin=str(order.plan_path), agents=config.agents.keys())
    run = ids.new_run_id(parts.clock.wall())
    into, checkout = await _target(mirror, order, config, run)
    _check_gate(config, order)
    _check_agents(parts, config, plan, plan_only=order.plan_only)
    await _check_sandbox(parts, config)
    created = await _created(parts, order, mirror, config, plan, run, base, into, checkout)
    await _store(parts, created, plan)
    probes.hit("run.stored")
    return run


def _plan(order: Order) -> Plan | None:
    if order.plan_path is None:
        return None
    try:
        with order.plan_path.open("rb") as file:
            data = file.read(MAX_PLAN_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{order.plan_path} cannot be read", why=error.strerror or str(error)) from error
    return parse_plan(data, origin=str(order.plan_path))


def _config(order: Order, found: Found) -> RunConfig:
    deck = found.deck
    if order.max_parallel is not None:
        deck = deck.model_copy(update={"deck": deck.deck.model_copy(update={"max_parallel": order.max_parallel})})
    if order.budget_usd is not None:
        deck = deck.model_copy(update={"budget": deck.budget.model_copy(update={"run": order.budget_usd})})
    if order.sandbox is not None:
        deck = deck.model_copy(update={"sandbox": deck.sandbox.model_copy(update={"backend": order.sandbox})})
    return RunConfig(
        deck=deck,
        agents=dict(found.agents),
        default_agent=order.agent or "implementer",
        guide=found.guide,
        origin=found.origin,
    )


def _check_gate(config: RunConfig, order: Order) -> None:
    if not config.deck.checks.gate and not order.plan_only:
        raise BadConfiguration(
            "there is nothing that checks the merged result",
            why="[checks] gate is not set, and no test command was detected at the base commit",
            fix='set [checks] gate = ["…"] in .quarterdeck/deck.toml and commit it (quarterdeck init starts one)',
        )


async def _base(mirror: Mirror, order: Order) -> str:
    if order.base is None and order.into is not None and (tip := await mirror.tip(_short(order.into))) is not None:
        return tip
    return await mirror.resolve(order.base or "HEAD")


def _short(branch: str) -> str:
    """A branch may be named in full."""
    return branch.removeprefix("refs/heads/")


async def _target(mirror: Mirror, order: Order, config: RunConfig, run: str) -> tuple[str, str | None]:
    """The target branch, and the clean work tree that is moved with it, if any."""
    branch = _short(order.into or config.deck.deck.into.replace("{run}", run))
    if not await mirror.valid_branch(branch):
        raise BadInput(f"{branch!r} is not a possible branch name", fix="--into NAME")
    if (other := await mirror.in_the_way(branch)) is not None:
        raise BadRepository(
            f"there can be no branch {branch} beside the branch {other}",
            why="git keeps branches like files in folders",
            fix="--into another name",
        )
    checkouts = await mirror.checkouts(branch)
    if not checkouts:
        return branch, None
    place = checkouts[0]
    if order.into is None or len(checkouts) > 1:
        raise BadRepository(
            f"{branch} is checked out in {place.path}", why="a checked-out branch is not moved", fix="--into NAME"
        )
    if not place.clean:
        raise BadRepository(
            f"{branch} is checked out in {place.path}, which has changes",
            why="only a clean work tree can be moved with its branch",
            fix=f"git -C {place.path} stash -u, or --into another branch",
        )
    return branch, str(place.path)


# --- agents -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needed:
    """An agent that this run certainly uses, and why."""

    agent: Agent
    why: str


def needed_agents(config: RunConfig, plan: Plan | None) -> list[Needed]:
    """The agents that must be able to work before the run starts. Raises BadConfiguration for unknown names."""
    names = {PLANNER: "plans the goal"} if plan is None else {}
    for task in plan.tasks if plan is not None else ():
        name = task.agent or config.default_agent
        names.setdefault(name, f"works on task {task.id}")
    if plan is None:
        names.setdefault(config.default_agent, "works on tasks that name no agent")
    if config.deck.review.agent is not None:
        names.setdefault(config.deck.review.agent, "[review] agent")
    found = []
    for name, why in names.items():
        if name not in config.agents:
            known = ", ".join(sorted(config.agents))
            raise BadConfiguration(f"there is no agent called {name} ({why})", fix=f"use one of: {known}")
        found.append(Needed(config.agents[name], why))
    return found


def _check_agents(parts: Parts, config: RunConfig, plan: Plan | None, *, plan_only: bool) -> None:
    for needed in needed_agents(config, plan):
        if plan_only and needed.agent.name != PLANNER:
            continue
        agent = needed.agent
        if agent.harness is Harness.ACP:
            raise MissingPart(f"the acp harness is not built yet (agent {agent.name}, which {needed.why})")
        if agent.harness is Harness.NATIVE:
            _check_models(parts, config, agent, needed.why)


def _check_models(parts: Parts, config: RunConfig, agent: Agent, why: str) -> None:
    names: Iterable[str] = (agent.model,) if agent.model is not None else config.deck.tiers.get(agent.tier, ())
    if not names:
        raise BadConfiguration(
            f"agent {agent.name} ({why}) has no model",
            why=f"[tiers] {agent.tier} is empty",
            fix=f'set [tiers] {agent.tier} = ["anthropic:…"] in {parts.settings.home / "deck.toml"}',
        )
    for name in names:
        if price_of(name, config.deck.prices) is None:
            raise BadConfiguration(
                f"the price of {name} is not known",
                why="what has no price has no budget",
                fix=f'set [prices] "{name}" = {{ input = …, output = … }} (USD per million tokens)',
            )
        parts.fleet.models(config)(name)


async def _check_sandbox(parts: Parts, config: RunConfig) -> None:
    provider = parts.workshop.provider(config)
    probe = await provider.probe()
    if not probe.ok:
        raise SandboxUnavailable(
            f"the sandbox {provider.name} does not work here",
            why=probe.detail,
            fix=f"{probe.fix} (or --sandbox none, which isolates nothing)",
        )


# --- storing ----------------------------------------------------------------------------------------------


async def _created(
    parts: Parts,
    order: Order,
    mirror: Mirror,
    config: RunConfig,
    plan: Plan | None,
    run: str,
    base: str,
    into: str,
    checkout: str | None,
) -> e.RunCreated:
    goal = order.goal or (plan.goal if plan is not None else "")
    put = parts.journal.put
    return e.RunCreated(
        run=run,
        goal=goal[:16_000],
        goal_blob=await put(goal.encode()),
        plan_blob=await put(plan.model_dump_json().encode()) if plan is not None else None,
        plan_only=order.plan_only,
        repository=str(mirror.repository),
        target=ids.target_id(str(mirror.common_dir), into),
        base=base,
        into=into,
        into_explicit=order.into is not None,
        checkout=checkout,
        config_blob=await put(config.model_dump_json().encode()),
        budget_nusd=to_nusd(config.deck.budget.run),
        max_parallel=config.deck.deck.max_parallel,
        user=order.user,
        sandbox=config.deck.sandbox.backend,
    )


async def _store(parts: Parts, created: e.RunCreated, plan: Plan | None) -> None:
    claim = await parts.journal.claim(ids.run_stream(created.run))
    events: list[e.EventBase] = [created]
    if plan is not None and created.plan_blob is not None:
        events.append(
            e.RunPlanned(plan_blob=created.plan_blob, tasks=len(plan.tasks), warnings=plan_warnings(plan)[:50])
        )

    def also(tx: Tx) -> None:
        parts.treasury.open(tx, created.run, created.budget_nusd)
        parts.engine.defer(tx, jobs.advance(created.run))

    await parts.journal.commit(Entry(claim, tuple(events)), also=also)
