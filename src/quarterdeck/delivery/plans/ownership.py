"""Who owns what: the agent for a task that names none, and what an owner may change. Pure.

Rules
- An agent that owns something may change that and nothing else; an agent that owns nothing may change what its tasks
  declare. Ownership keeps nobody out: what one agent owns another may change, if a plan gives it the task.
- A task that names no agent goes to the agent that owns all of its paths; among several to the one whose patterns are
  the most specific, then to the first by name. Where a person named an agent for the run, or nobody owns all of the
  paths, it goes to the run's agent.
- A plan that gives a task to an agent that owns none of its paths is refused: no change of it could ever be accepted.
  Where it owns only a part of them, the plan is taken with a warning.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Final

from quarterdeck.delivery.plans.globs import glob_matches, glob_problem, is_literal, may_overlap, within
from quarterdeck.delivery.plans.plan import MAX_WARNINGS as PLAN_WARNINGS
from quarterdeck.delivery.plans.plan import plan_warnings
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Plan, Task
from quarterdeck.kernel.failures import BadConfiguration, BadPlan

MAX_WARNINGS: Final = 20

Specificity = tuple[int, int, int]


def specificity(pattern: str) -> Specificity:
    """How narrow a pattern is: more parts spelled out, then more letters, then fewer parts left open."""
    parts = pattern.strip("/").split("/")
    spelled = [part for part in parts if is_literal(part)]
    return len(spelled), sum(map(len, spelled)), -sum(part == "**" for part in parts)


def rank(agent: Agent, task: Task) -> Specificity | None:
    """How specifically the agent owns all of the task's paths; None = it does not own all of them."""
    found = []
    for path in task.paths:
        covering = [specificity(owned) for owned in agent.owns if within(path, owned)]
        if not covering:
            return None
        found.append(max(covering))
    return min(found)


def owner_of(task: Task, agents: Mapping[str, Agent]) -> str | None:
    """The agent that owns all of the task's paths, or None."""
    ranked = {name: rank(agents[name], task) for name in sorted(agents) if works(agents[name])}
    owners = {name: found for name, found in ranked.items() if found is not None}
    return max(owners, key=lambda name: owners[name]) if owners else None  # the first of equals, by name


def works(agent: Agent) -> bool:
    """Whether it is an agent that tasks are given to."""
    return agent.expects == "submission"


def agent_of_task(task: Task, config: RunConfig) -> str:
    """The agent that the task is first given to."""
    if task.agent is not None:
        return task.agent
    owner = None if config.agent_named else owner_of(task, config.agents)
    return owner or config.default_agent


def check_owners(agents: Mapping[str, Agent]) -> None:
    """Raises BadConfiguration for an `owns` that no file can match."""
    for name, agent in agents.items():
        for pattern in agent.owns:
            if problem := glob_problem(pattern):
                raise BadConfiguration(
                    f"the agent `{name}` cannot be used",
                    why=f"owns: {problem}: `{pattern[:200]}`",
                    fix=f"mend the file of the agent {name}",
                )


def check_given(plan: Plan, config: RunConfig, *, origin: str) -> None:
    """Raises BadPlan where a task is given to an agent that owns none of its paths."""
    for task in plan.tasks:
        name = agent_of_task(task, config)
        agent = config.agents.get(name)
        if agent is None or not agent.owns:
            continue
        if not any(_meet(path, owned) for path in task.paths for owned in agent.owns):
            owner = owner_of(task, config.agents)
            other = f"; `{owner}` owns them" if owner is not None else ""
            raise BadPlan(
                f"{origin} cannot be used",
                why=f"task {task.id}, agent: `{name}` owns none of its paths ({_some(task.paths)}), only "
                f"{_some(agent.owns)}{other}",
                fix=f"give the task to {owner or 'another agent'}, or leave `agent` out",
            )


def _meet(path: str, owned: str) -> bool:
    """Whether a file of the path could be owned. A name with an ending is a file, unless owned below."""
    if is_literal(path) and "." in path.rsplit("/", 1)[-1] and not owned.startswith(f"{path}/"):
        return glob_matches(owned, path) or within(path, owned)
    return may_overlap(path, owned)


def given_warnings(plan: Plan, config: RunConfig) -> tuple[str, ...]:
    """Tasks that are given to an agent that owns only a part of their paths, bounded."""
    found = []
    for task in plan.tasks:
        name = agent_of_task(task, config)
        agent = config.agents.get(name)
        if agent is None or not agent.owns:
            continue
        foreign = [path for path in task.paths if not any(within(path, owned) for owned in agent.owns)]
        if foreign:
            found.append(
                f"task {task.id}: `{name}` owns only a part of what the task may change: what it changes in "
                f"{_some(foreign)} outside of {_some(agent.owns)} is sent back"
            )
    return tuple(found[:MAX_WARNINGS])


def all_warnings(plan: Plan, config: RunConfig) -> tuple[str, ...]:
    """What is worth a look in a usable plan, bounded."""
    found = (*given_warnings(plan, config), *plan_warnings(plan))
    if len(found) > PLAN_WARNINGS:
        return (*found[: PLAN_WARNINGS - 1], f"and {len(found) - PLAN_WARNINGS + 1} more warnings")
    return found


def owners_told(agents: Mapping[str, Agent]) -> str:
    """Who owns what and who takes any task, for whoever makes a plan; empty = nobody owns anything."""
    if not any(agent.owns for agent in agents.values()):
        return ""
    workers = [agents[name] for name in sorted(agents) if works(agents[name])]
    lines = [f"- {a.name}: {_some(a.owns) if a.owns else 'owns nothing, takes any task'}" for a in workers]
    return "\n".join(lines)


def fleet_warnings(agents: Mapping[str, Agent]) -> Iterator[str]:
    """What is worth a look in who owns what and who delegates to whom."""
    owners = [agents[name] for name in sorted(agents) if agents[name].owns and works(agents[name])]
    for one, other in combinations(owners, 2):
        shared = [(a, b) for a in one.owns for b in other.owns if may_overlap(a, b)]
        if shared:
            a, b = shared[0]
            both = f"`{a}`" if a == b else f"`{a}` and `{b}`"
            yield f"{one.name} and {other.name} may own the same files ({both}): the more specific pattern decides"
    for line in _circles({name: agent.delegates_to for name, agent in agents.items()}):
        yield f"delegation could close a circle: {' -> '.join(line)}; it is refused where it would"
    for name, agent in sorted(agents.items()):
        above = agents.get(agent.escalates_to or "")
        if above is not None and above.expects != agent.expects:
            yield f"{name} escalates to {above.name}, which hands in a {above.expects} and is passed over"
    climbs = {n: (a.escalates_to,) for n, a in agents.items() if a.escalates_to in agents and a.escalates_to}
    for line in _circles(climbs):
        yield f"escalation goes in a circle: {' -> '.join(line)}; each agent has its turn once, then it ends"


def _circles(edges: Mapping[str, tuple[str | None, ...]]) -> Iterator[tuple[str, ...]]:
    """Each circle once, beginning with its first name."""
    for start in sorted(edges):
        todo: list[tuple[str, ...]] = [(start,)]
        seen: set[str] = set()
        while todo:
            line = todo.pop()
            for name in edges.get(line[-1], ()):
                if name == start:
                    yield (*line, start)
                    todo.clear()
                    break
                if name is not None and name > start and name not in seen:
                    seen.add(name)
                    todo.append((*line, name))


def _some(patterns: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(patterns) - 8} more" if len(patterns) > 8 else ""
    return ", ".join(pattern[:100] for pattern in patterns[:8]) + more
