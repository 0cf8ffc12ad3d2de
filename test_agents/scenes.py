"""The scenes that every command line plays, each a run of three tasks.

Rules
- A scene says what went wrong by raising `Failed`; what it does not look at it does not promise.
- What the vendor would have billed is read from the model's side and compared with what the run says it cost.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.scenario import Match, Rule, Turn, act
from test_agents import job
from test_agents.job import TASKS, honest, rule
from test_agents.stage import LONGEST, Ran, Stage, expect

DONE: Final = 0
WAITS: Final = 3
EXHAUSTED: Final = 5
INTERRUPTED: Final = 130
_MARGIN: Final = 1.01
"""Our sum in USD and the vendor's agree to a hundredth of themselves at worst: both round up."""

FORGETFUL: Final = ("gemini",)
"""Those that offer to load a session and then may not find it, by how far they had written it down: they begin a new
one in their workspace then."""

Scene = Callable[[Stage], Awaitable[None]]


def _merged(ran: Ran, *tasks: str) -> None:
    for task in tasks:
        expect(ran.task(task)["status"] == "merged", f"{task} is not merged: {ran.summary()}")


def _is(ran: Ran, code: int, status: str) -> None:
    expect((ran.code, ran.result["status"]) == (code, status), f"not {status} ({code}): {ran.summary()}")


async def _holds(stage: Stage, scene: str, ran: Ran, *tasks: str) -> None:
    """The branch holds these tasks' files and no other task's."""
    files = set(await stage.files(scene, ran))
    for task in TASKS:
        there = {f"sums/{task}.py", f"tests/test_{task}.py"} <= files
        expect(there == (task in tasks), f"{task} is {'' if there else 'not '}on the branch")


def _metered(stage: Stage, scene: str, ran: Ran) -> None:
    billed, told = stage.billed(scene), float(ran.result["cost_usd"])
    agrees = billed / _MARGIN <= told <= billed * _MARGIN
    expect(agrees and billed > 0, f"the vendor would have billed ${billed:.4f}, the run says ${told:.4f}")


def _all(stage: Stage) -> Mapping[str, str]:
    return dict.fromkeys(TASKS, stage.agent)


async def allow(stage: Stage) -> None:
    """Three tasks, three commits; the agent asks for what it does and may."""
    await stage.prepare("allow", {}, _all(stage))
    stage.say("allow", *(rule(task, honest(task)) for task in TASKS))
    ran = await (await stage.run("allow")).ended()
    _is(ran, DONE, "done")
    _merged(ran, *TASKS)
    await _holds(stage, "allow", ran, *TASKS)
    _metered(stage, "allow", ran)
    asked = [event["decision"] for event in ran.events("permission.decided")]
    expect("allow" in asked, "it never asked whether it may")
    handed_in = [event for event in ran.events("harness.finished") if event.get("handoff_blob")]
    expect(len(handed_in) == len(TASKS), f"{len(handed_in)} of {len(TASKS)} handed in")
    stage.cost = float(ran.result["cost_usd"])


async def deny(stage: Stage) -> None:
    """An agent that may not run anything asks, whatever the repository's own settings allow it; it is refused, finds
    another way, and hands in: tools of ours are no others."""
    agents = dict.fromkeys(TASKS, "careful")
    careful = {".quarterdeck/agents/careful.md": job.CAREFUL.format(profile=stage.agent), **job.LOOSE}
    await stage.prepare("deny", careful, agents)
    stage.say("deny", *(rule(task, job.without_running(task)) for task in TASKS))
    ran = await (await stage.run("deny")).ended()
    _is(ran, DONE, "done")
    _merged(ran, *TASKS)
    denied = [event for event in ran.events("permission.decided") if event["decision"] == "deny"]
    expect(len(denied) >= len(TASKS), f"{len(denied)} requests were denied")
    expect("ran.txt" not in await stage.files("deny", ran), "what was denied was done")
    handed_in = [event for event in ran.events("harness.finished") if event.get("handoff_blob")]
    expect(len(handed_in) == len(TASKS), f"{len(handed_in)} of {len(TASKS)} handed in")


async def approve(stage: Stage) -> None:
    """Each command waits for a person's word, who is shown the command and approves it."""
    waits = '[checks]\ngate = ["python3 -m unittest discover -s tests"]\n[approve]\ntools = ["run"]\n'
    await stage.prepare("approve", {".quarterdeck/deck.toml": waits}, {"add": stage.agent})
    stage.say("approve", rule("add", honest("add")))
    process, shown = await stage.run("approve"), ""
    while (asked := await process.event("approval.asked", shown.count("\n") + 1)) is not None:
        one = await (await stage.start("approve", "inbox", asked["approval"])).ended()
        shown += " ".join(json.dumps(line) for line in one.lines) + "\n"
        word = await (await stage.start("approve", "approve", asked["approval"])).ended()
        expect(word.code == DONE, f"it could not be approved: {word.errors[-500:]}")
    ran = await process.ended()
    _is(ran, DONE, "done")
    _merged(ran, "add")
    expect("unittest" in shown, f"the person was not shown the command: {shown[-500:]}")
    words = [event for event in ran.events("permission.decided") if event["tool"] == "run"]
    unasked = [event for event in words if event["decision"] == "allow" and not event["approver"]]
    expect(bool(words) and not unasked, f"{len(unasked)} of {len(words)} commands were allowed and nobody was asked")


async def faults(stage: Stage) -> None:
    """A stream that is cut, and an overloaded vendor, both in the middle."""
    cut = Fault(kind=Kind.CUT, step=1, times=1)
    overloaded = Fault(kind=Kind.OVERLOADED, step=2, times=1)
    await stage.prepare("faults", {}, _all(stage))
    stage.say(
        "faults",
        rule("add", honest("add"), faults=(cut,)),
        rule("subtract", honest("subtract"), faults=(overloaded,)),
        rule("multiply", honest("multiply")),
    )
    ran = await (await stage.run("faults")).ended()
    met = {asked.fault for asked in stage.server.requests if asked.scenario == stage.name("faults")}
    expect({Kind.CUT, Kind.OVERLOADED} <= met, f"it did not meet the faults: {met}")
    _is(ran, DONE, "done")
    _merged(ran, *TASKS)


async def lie(stage: Stage) -> None:
    """One that did nothing and says it did, once; one whose change fails its own test and that says it passes."""
    await stage.prepare("lie", {}, _all(stage))
    stage.say(
        "lie",
        rule("add", honest("add")),
        rule("subtract", honest("subtract"), again=True),
        rule("subtract", job.idle_lie("subtract")),
        rule("multiply", job.wrong_lie("multiply")),
    )
    ran = await (await stage.run("lie")).ended()
    _is(ran, WAITS, "waiting")  # for the person to whom the agent's definition escalates
    _merged(ran, "add", "subtract")
    expect(ran.task("subtract")["attempts"] == 2, f"the idle lie passed: {ran.summary()}")
    expect(ran.task("multiply")["status"] != "merged", "a change that fails its own test was merged")
    await _holds(stage, "lie", ran, "add", "subtract")


async def _until_it_hangs(stage: Stage, scene: str) -> None:
    async with asyncio.timeout(LONGEST):
        await stage.server.hanging(stage.name(scene)).wait()


def _hang(stage: Stage, scene: str, task: str) -> None:
    """The model answers everything but the third question of one task."""
    hang = Fault(kind=Kind.HANG, step=2, times=0)
    stage.say(scene, *(rule(name, honest(name), faults=(hang,) if name == task else ()) for name in TASKS))


async def _resumed(stage: Stage, scene: str, run: str) -> Ran:
    stage.say(scene, *(rule(task, honest(task)) for task in TASKS))
    ran = await (await stage.start(scene, "resume", run)).ended()
    _is(ran, DONE, "done")
    _merged(ran, *TASKS)
    await _holds(stage, scene, ran, *TASKS)
    return ran


async def cancel(stage: Stage) -> None:
    """Cancelled while the agent works; nothing of it is left; then resumed."""
    await stage.prepare("cancel", {}, _all(stage))
    _hang(stage, "cancel", "multiply")
    process = await stage.run("cancel")
    run = await process.run()
    await _until_it_hangs(stage, "cancel")
    ordered = await (await stage.start("cancel", "cancel", run)).ended()
    expect(ordered.code == 0, f"cancel: {ordered.errors[-500:]}")
    ran = await process.ended()
    _is(ran, INTERRUPTED, "cancelled")
    await stage.nothing_left()
    await _resumed(stage, "cancel", run)


async def kill(stage: Stage) -> None:
    """`kill -9` of quarterdeck while the agent works; nothing of it is left; then resumed."""
    await stage.prepare("kill", {}, _all(stage))
    _hang(stage, "kill", "subtract")
    process = await stage.run("kill")
    run = await process.run()
    await _until_it_hangs(stage, "kill")
    await process.kill()
    await stage.nothing_left()
    ran = await _resumed(stage, "kill", run)
    connected = ran.events("agent.connected")
    expect(any(event["resumed"] or event["forgot"] for event in connected), "it was not asked to take up its session")
    remembers = any(event["resumed"] for event in connected)
    expect(remembers or stage.agent in FORGETFUL, "it does not remember its session")


async def budget(stage: Stage) -> None:
    """Money ends in the middle: what is finished is kept, the cap holds at the vendor's; then it is raised."""
    cap = stage.cost * 0.6
    await stage.prepare("budget", {}, _all(stage))
    stage.say("budget", *(rule(task, honest(task)) for task in TASKS))
    ran = await (await stage.run("budget", "--max-parallel", "1", "--budget", f"{cap:.6f}")).ended()
    _is(ran, EXHAUSTED, "partial")
    merged = [task for task in TASKS if ran.task(task)["status"] == "merged"]
    expect(0 < len(merged) < len(TASKS), f"merged are {merged}: {ran.summary()}")
    billed = stage.billed("budget")
    expect(billed <= cap, f"the vendor would have billed ${billed:.4f} of ${cap:.4f}")
    _metered(stage, "budget", ran)
    raised = await (await stage.start("budget", "resume", ran.result["run"], "--budget", "100")).ended()
    _is(raised, DONE, "done")
    _merged(raised, *TASKS)


async def probe(stage: Stage) -> None:
    """`agents --probe` puts it to work once, and says that it can."""
    await stage.prepare("probe", {}, _all(stage))
    write = act("write", path="ready.txt", content="ready\n")
    turns = (
        Turn(actions=(write,)),
        Turn(actions=(act("submit", summary="ready"),)),
        Turn(text="Done."),
    )
    stage.say("probe", Rule(match=Match(said="ready.txt"), turns=turns))
    ran = await (
        await stage.start("probe", "agents", "--probe", stage.agent, "--repo", str(stage.repository("probe")))
    ).ended()
    said = [line for line in ran.lines if line.get("kind") == "probe"]
    expect(ran.code == DONE and len(said) == 1 and said[0]["ok"], f"exit code {ran.code}: {said} {ran.errors[-500:]}")


SCENES: Final[Mapping[str, Scene]] = {
    "probe": probe,
    "allow": allow,
    "deny": deny,
    "approve": approve,
    "faults": faults,
    "lie": lie,
    "cancel": cancel,
    "kill": kill,
    "budget": budget,
}
"""In the order in which they are played; `budget` needs what `allow` found out."""


async def mixed(stage: Stage) -> None:
    """One plan whose tasks go to our own loop, to Claude Code, to Codex and to a program, merged on one branch."""
    agents = {"add": "implementer", "subtract": "claude", "multiply": "codex", "power": "script"}
    await stage.prepare("mixed", {".quarterdeck/agents/script.md": job.script("power")}, agents)
    stage.say("mixed", *(rule(task, honest(task)) for task in agents))
    ran = await (await stage.run("mixed")).ended()
    _is(ran, DONE, "done")
    _merged(ran, *agents)
    files = set(await stage.files("mixed", ran))
    expect({f"sums/{task}.py" for task in agents} <= files, f"on the branch are {sorted(files)}")
    _metered(stage, "mixed", ran)
    formats = {str(asked.format) for asked in stage.server.requests if asked.scenario == stage.name("mixed")}
    expect({"messages", "responses"} <= formats, f"only {sorted(formats)} were spoken")


def wanted(chosen: Sequence[str]) -> dict[str, Scene]:
    """The scenes of these names (none = all), with what they need played before them."""
    named = {*chosen, *(("allow",) if "budget" in chosen else ())}
    return {name: scene for name, scene in SCENES.items() if name in named or not chosen}
