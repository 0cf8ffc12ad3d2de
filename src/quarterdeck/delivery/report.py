"""What a run says at its end, for people: pure builders of the report and the retrospective, as Markdown.

Rules
- The report says what merged, what did not and why, what it cost, and what needs a human, in that order.
- The retrospective says what failed on the way, why, and what a later run should know. It holds only what is on
  record; it draws no conclusion that the record does not support.
"""

from dataclasses import dataclass

from quarterdeck.kernel.entities import to_usd
from quarterdeck.kernel.events import TaskStatus


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task at the end of its run."""

    task: str
    title: str
    status: TaskStatus
    attempts: int
    commit: str | None
    reason: str
    summary: str
    limitations: tuple[str, ...]
    gone: bool = False
    """Its commit landed, but the target does not hold it any more."""
    findings: tuple[str, ...] = ()
    """What validation named about its last change."""
    merged: str = ""
    """By which way it was merged, where git's own merge did not do."""
    taken_back: tuple[str, ...] = ()
    """Each time that its change landed, made the target red, and was taken back: by which commit, and what failed."""


@dataclass(frozen=True, slots=True)
class Setback:
    """Something that went wrong on the way and is on record."""

    task: str
    attempt: str
    what: str
    """Node and outcome."""
    reason: str


@dataclass(frozen=True, slots=True)
class Ending:
    """Everything the two documents are made from."""

    run: str
    goal: str
    branch: str
    sha: str
    tasks: tuple[TaskLine, ...]
    setbacks: tuple[Setback, ...]
    cost_nusd: int
    budget_nusd: int
    seconds: float
    warnings: tuple[str, ...]
    flaky: tuple[str, ...]
    """Checks that failed and then passed on the same tree, each with what it said."""
    plan_only: bool = False
    """A plan was all that was asked for."""
    unseen: tuple[str, ...] = ()
    """Tasks whose change landed without an agent or a person having looked at it."""
    short: str = ""
    """Which budget ended the run, and what helps; empty = none did."""


def report(ending: Ending) -> str:
    """The report."""
    merged = [task for task in ending.tasks if task.status is TaskStatus.MERGED]
    open_tasks = [task for task in ending.tasks if task.status is not TaskStatus.MERGED]
    tip = f" at `{ending.sha[:12]}`" if merged else ""
    lines = [
        f"# {ending.goal.strip().splitlines()[0][:200] if ending.goal.strip() else ending.run}",
        "",
        f"Run `{ending.run}`: {len(merged)} of {_tasks(len(ending.tasks))} merged into `{ending.branch}`"
        f"{tip}, in {_duration(ending.seconds)}, for {_usd(ending.cost_nusd)}"
        f" of ${to_usd(ending.budget_nusd):.2f}.",
        "",
    ]
    if merged:
        lines += ["## Merged", ""]
        for task in merged:
            tries = f" ({task.attempts} attempts)" if task.attempts > 1 else ""
            lines.append(f"- `{(task.commit or '')[:12]}` **{task.task}**: {task.title}{tries}")
            lines += [f"  - {_line(task.merged)}"] if task.merged else []
            lines += [f"  - limitation: {text}" for text in task.limitations]
            lines += [f"  - to look at: {_line(text)}" for text in task.findings[:10]]
        if ending.unseen:
            names = ", ".join(ending.unseen[:20])
            these = f"{len(ending.unseen)} of these {len(merged)} changes" if len(merged) > 1 else "this change"
            lines += ["", f"Nobody has reviewed {these}: {names}."]
        lines.append("")
    lines += _gone(ending, [task for task in merged if task.gone])
    lines += _taken_back(ending)
    if ending.short:
        lines += ["## The budget is exhausted", "", f"{_line(ending.short)}.", ""]
    if ending.plan_only:
        lines += ["## Planned", "", *(f"- **{task.task}**: {task.title}" for task in ending.tasks), ""]
    elif open_tasks:
        lines += ["## Needs a human", ""]
        lines += [f"- **{task.task}** is {task.status}: {task.reason or 'no reason on record'}" for task in open_tasks]
        if not ending.short:
            lines += ["", f"Try what did not merge again: `quarterdeck resume {ending.run} --retry`"]
        lines.append("")
    if ending.flaky:
        lines += ["## Flaky checks", "", *(f"- {_line(text)}" for text in dict.fromkeys(ending.flaky)), ""]
    if ending.warnings:
        lines += ["## Warnings about the plan", "", *(f"- {text}" for text in ending.warnings), ""]
    return "\n".join(lines)


def _gone(ending: Ending, tasks: list[TaskLine]) -> list[str]:
    if not tasks:
        return []
    return [
        f"## No longer on `{ending.branch}`",
        "",
        f"These landed, but somebody moved `{ending.branch}` since, and it does not hold them any more:",
        "",
        *(f"- `{(task.commit or '')[:12]}` **{task.task}**: {task.title}" for task in tasks),
        "",
        "`git cherry-pick` brings each of them back, in the order in which they landed.",
        "",
    ]


def _taken_back(ending: Ending) -> list[str]:
    found = [f"- **{task.task}**: {_line(each)}" for task in ending.tasks for each in task.taken_back]
    if not found:
        return []
    head = f"These had landed and passed, but `{ending.branch}` was red with them; each was sent back to be mended:"
    return ["## Taken back", "", head, "", *found, ""]


def retrospective(ending: Ending) -> str:
    """The retrospective."""
    lines = [f"# Retrospective of `{ending.run}`", ""]
    if not ending.setbacks and not ending.flaky:
        return "\n".join([*lines, "Nothing went wrong: every task merged at its first attempt.", ""])
    lines += ["## What failed on the way, and why", ""]
    lines += [f"- `{item.attempt}` {item.what}: {_line(item.reason)}" for item in ending.setbacks]
    lines += [f"- flaky: {_line(text)}" for text in ending.flaky]
    lines += ["", "## What a later run should know", "", *(f"- {text}" for text in _lessons(ending)), ""]
    return "\n".join(lines)


def _lessons(ending: Ending) -> list[str]:
    found = []
    for task in ending.tasks:
        own = [item for item in ending.setbacks if item.task == task.task]
        if not own:
            continue
        how = "merged" if task.status is TaskStatus.MERGED else f"ended {task.status}"
        kinds = ", ".join(dict.fromkeys(item.what for item in own))
        found.append(f"`{task.task}` {how} after {task.attempts} attempts ({kinds}).")
    conflicts = sorted({item.task for item in ending.setbacks if "conflict" in item.what})
    if conflicts:
        found.append(
            f"Order or divide the work of: {', '.join(conflicts)}; it met changes of others in the same lines."
        )
    if ending.flaky:
        found.append("Mend the flaky check: each of its failures costs a second run of all checks.")
    return found or ["Nothing beyond the list above."]


def _line(text: str) -> str:
    return " ".join(text.split())[:400]


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _usd(nusd: int) -> str:
    """Four digits where two would say nothing."""
    amount = to_usd(nusd)
    return f"${amount:.4f}" if 0 < amount < 0.1 else f"${amount:,.2f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
