"""An order becomes a run: everything that can be refused is refused here, before anything is started.

Rules
- The plan is looked at first: a bad plan is refused before a sandbox or a key is looked for.
- Then the repository, the configuration, the agents with their models and prices, the target branch, the sandbox.
- A run may be ordered with the configuration of another one: then that one is used as it was frozen, save for what the
  order itself says.
- Where the workers have homes of their own, branches are those of the remote (`assembly/remote.py`).
- A run onto a branch that exists starts from where that branch is, unless a base is named.
- A run exists once its `run.created` is stored, together with its budget and its first job.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quarterdeck.assembly.bare import elsewhere
from quarterdeck.assembly.configuration import Found, configuration
from quarterdeck.assembly.lending import lent
from quarterdeck.assembly.parts import Parts
from quarterdeck.assembly.planfile import read_plan_file
from quarterdeck.assembly.remote import bring, landing_place, reach, target_of
from quarterdeck.assembly.toolboard import check_tools
from quarterdeck.delivery import jobs
from quarterdeck.delivery.assigning import PLANNER
from quarterdeck.delivery.order import Order
from quarterdeck.delivery.plans.ownership import agent_of_task, all_warnings, check_given
from quarterdeck.delivery.plans.plan import check_plan, parse_plan
from quarterdeck.govern.chain import run_purse
from quarterdeck.journal.port import Entry
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Agent, Harness, Plan, to_nusd
from quarterdeck.kernel.failures import BadConfiguration, BadInput, BadRepository, Conflicting, SandboxUnavailable
from quarterdeck.kernel.prices import price_of
from quarterdeck.store.port import Tx
from quarterdeck.tools.shed.needs import WITHOUT
from quarterdeck.workplace.mirror import Mirror

MAX_PLAN_BYTES = 8 * 1024 * 1024
_PLACED = "runs_on: "


async def create(parts: Parts, order: Order, run: str | None = None) -> str:
    """Store a run; returns its id. `run`: the id it gets, None = a new one.

    Raises BadPlan, BadInput, BadConfiguration, BadRepository, SandboxUnavailable.
    """
    plan = await _plan(order)
    local = await parts.workshop.mirror(str(order.repository))
    mirror = await landing_place(parts, local)
    if order.into is not None:
        await _possible(mirror, short(order.into), named=True)
    base = await _base(local, mirror, order)
    kept = await bring(parts, local, mirror, base)
    frozen = await _config_of(parts, order)
    config = lent(_adapted(order, frozen or fresh(await configuration(parts.settings.home, mirror, base))))
    config = placed(config, reach(parts, mirror))
    if plan is not None:
        check_plan(plan, origin=str(order.plan_path), agents=config.agents.keys())
        check_given(plan, config, origin=str(order.plan_path))
    run = run or ids.new_run_id(parts.clock.wall())
    branch = short(config.deck.deck.into.replace("{run}", run) if order.into is None else order.into)
    into, checkout = await target(mirror, branch, named=order.into is not None)
    if not order.plan_only:
        mirror.check_writable()
        check_gate(config)
    config = _check_agents(parts, config, plan, plan_only=order.plan_only)
    await check_sandbox(parts, config)
    created = await _created(parts, order, mirror, config, plan, run, base, into, checkout)
    await store(parts, created, plan, all_warnings(plan, config) if plan is not None else (), kept)
    probes.hit("run.stored")
    return run


async def _plan(order: Order) -> Plan | None:
    if order.plan_path is None:
        return None
    if order.plan_text is not None:
        return parse_plan(order.plan_text.encode(), origin=str(order.plan_path))
    data = await read_plan_file(order.plan_path, MAX_PLAN_BYTES + 1)
    return parse_plan(data, origin=str(order.plan_path))


async def _config_of(parts: Parts, order: Order) -> RunConfig | None:
    """The configuration of the run that the order names."""
    if order.config_of is None:
        return None
    briefing = await parts.briefings.run(order.config_of)
    if briefing.created.reverts:
        raise BadInput(
            f"{order.config_of} took something back; it has no agents to take over",
            fix=f"--config-of {briefing.created.reverts.partition('.')[0]}",
        )
    return briefing.config


def fresh(found: Found) -> RunConfig:
    """The configuration of a run that is ordered without any wish of its own."""
    return RunConfig(
        deck=found.deck,
        agents=dict(found.agents),
        guide=found.guide,
        narrowed=found.narrowed,
        origin=found.origin,
    )


def _adapted(order: Order, config: RunConfig) -> RunConfig:
    """With what the order itself says. An order that says nothing changes nothing."""
    deck = config.deck
    if order.max_parallel is not None:
        deck = deck.model_copy(update={"deck": deck.deck.model_copy(update={"max_parallel": order.max_parallel})})
    if order.budget_usd is not None:
        deck = deck.model_copy(update={"budget": deck.budget.model_copy(update={"run": order.budget_usd})})
    if order.sandbox is not None:
        deck = fenced(deck, order.sandbox)
    if order.agent is not None and order.agent not in config.agents:
        raise BadInput(
            f"there is no agent {order.agent!r}", fix=f"--agent with one of: {', '.join(sorted(config.agents))}"
        )
    named = {"default_agent": order.agent, "agent_named": True} if order.agent is not None else {}
    return config.model_copy(update={"deck": deck, **named})


def placed(config: RunConfig, runs_on: tuple[str, ...]) -> RunConfig:
    """The configuration of a run that only workers with these labels can work on."""
    said = [line for line in config.origin if not line.startswith(_PLACED)]
    why = [f"{_PLACED}{label}, because the repository has no remote" for label in runs_on]
    return config.model_copy(update={"runs_on": runs_on, "origin": (*said, *why)})


def fenced(deck: DeckConfig, backend: str) -> DeckConfig:
    """The configuration with that sandbox."""
    return deck.model_copy(update={"sandbox": deck.sandbox.model_copy(update={"backend": backend})})


def check_gate(config: RunConfig) -> None:
    """Raises BadConfiguration where nothing checks the merged result."""
    if not config.deck.checks.gate:
        raise BadConfiguration(
            "there is nothing that checks the merged result",
            why="[checks] gate is not set, and no test command was detected at the base commit",
            fix='set [checks] gate = ["…"] in .quarterdeck/deck.toml and commit it (quarterdeck init starts one)',
        )


async def _base(local: Mirror, mirror: Mirror, order: Order) -> str:
    if order.base is None and order.into is not None and (tip := await mirror.tip(short(order.into))) is not None:
        return tip
    return await local.resolve("HEAD" if order.base is None else order.base)


def short(branch: str) -> str:
    """A branch may be named in full."""
    return branch.removeprefix("refs/heads/")


async def _possible(mirror: Mirror, branch: str, *, named: bool) -> None:
    if not await mirror.valid_branch(branch):
        fix = "--into NAME" if named else 'correct [deck] into in deck.toml, for example "quarterdeck/{run}"'
        raise BadInput(f"{branch[:100]!r} is not a possible name of a branch", fix=fix)


async def target(mirror: Mirror, branch: str, *, named: bool) -> tuple[str, str | None]:
    """The target branch, and the clean work tree that is moved with it, if any.

    `named`: a person named the branch, so that it may be checked out. Raises BadInput, BadRepository.
    """
    await _possible(mirror, branch, named=named)
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
    if not named or len(checkouts) > 1:
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
        name = agent_of_task(task, config)
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


def _check_agents(parts: Parts, config: RunConfig, plan: Plan | None, *, plan_only: bool) -> RunConfig:
    """The configuration, with what its agents go without."""
    agents = [each for each in needed_agents(config, plan) if not plan_only or each.agent.name == PLANNER]
    for needed in agents:
        agent = needed.agent
        if agent.harness is Harness.ACP:
            check_priced(parts, config, parts.fleet.acp.models(agent, config))
        if agent.harness is Harness.NATIVE:
            _check_models(parts, config, agent, needed.why)
    without = check_tools(parts.access, config, [needed.agent for needed in agents])
    said = [line for line in config.origin if not line.startswith(WITHOUT)]
    return config.model_copy(update={"origin": (*said, *without)})


def _check_models(parts: Parts, config: RunConfig, agent: Agent, why: str) -> None:
    names: Iterable[str] = (agent.model,) if agent.model is not None else config.deck.tiers.get(agent.tier, ())
    if not names:
        raise BadConfiguration(
            f"agent {agent.name} ({why}) has no model",
            why=f"[tiers] {agent.tier} is empty",
            fix=f'set [tiers] {agent.tier} = ["anthropic:…"] in {parts.settings.home / "deck.toml"}',
        )
    check_priced(parts, config, names)


def check_priced(parts: Parts, config: RunConfig, names: Iterable[str]) -> None:
    """That these models can be asked: each has its key, an address and a price. Raises BadConfiguration."""
    for name in names:
        parts.fleet.models(config)(name)  # what names no model has no price either, and needs none
        if price_of(name, config.deck.prices) is None:
            raise BadConfiguration(
                f"the price of {name} is not known",
                why="what has no price has no budget",
                fix=f'set [prices] "{name}" = {{ input = …, output = … }} (USD per million tokens)',
            )


async def check_sandbox(parts: Parts, config: RunConfig) -> None:
    """Raises SandboxUnavailable where the configured sandbox does not work here, and nobody else is there for it."""
    provider = parts.workshop.provider(config)
    if await elsewhere(parts.engine, provider):
        return
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
    put, origin = parts.journal.put, order.origin
    return e.RunCreated(
        run=run,
        goal=goal[:16_000],
        goal_blob=await put(goal.encode()),
        plan_blob=await put(plan.model_dump_json().encode()) if plan is not None else None,
        plan_only=order.plan_only,
        repository=mirror.origin.name,
        target=target_of(mirror, into, config.runs_on),
        base=base,
        into=into,
        into_explicit=order.into is not None,
        checkout=checkout,
        config_blob=await put(config.model_dump_json().encode()),
        budget_nusd=to_nusd(config.deck.budget.run),
        max_parallel=config.deck.deck.max_parallel,
        user=order.user,
        sandbox=config.deck.sandbox.backend,
        config_of=order.config_of or "",
        trigger=origin.trigger if origin is not None else "",
        subject=origin.subject if origin is not None else "",
        origin_blob=await put(origin.model_dump_json().encode()) if origin is not None else None,
    )


async def store(
    parts: Parts,
    created: e.RunCreated,
    plan: Plan | None,
    warnings: Sequence[str],
    kept: Sequence[e.EventBase] = (),
) -> None:
    """The run exists from here on: its order, its plan, its budget and its first job, in one transaction.

    Raises Conflicting where it exists: two servers may be given the same request.
    """
    stream = ids.run_stream(created.run)
    claim = await parts.journal.claim(stream)
    events: list[e.EventBase] = [created]
    if plan is not None and created.plan_blob is not None:
        planned = e.RunPlanned(plan_blob=created.plan_blob, tasks=len(plan.tasks), warnings=tuple(warnings[:50]))
        events.append(planned)
    events += kept

    def also(tx: Tx) -> None:
        if tx.run("stream_heads_of", names=json.dumps([stream]))[0]["seq"]:
            raise Conflicting(f"{created.run} exists already", fix=f"quarterdeck show {created.run}")
        parts.treasury.open(tx, run_purse(created.run), created.budget_nusd)
        parts.engine.defer(tx, jobs.advance(created.run))

    await parts.journal.commit(Entry(claim, tuple(events)), also=also)
