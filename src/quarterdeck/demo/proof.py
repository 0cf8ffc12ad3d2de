"""What the demo looks at for itself when the run has ended: git, the merged tree, the journal, the bill.

Rules
- Nothing is taken from what an agent or the run says of itself.
- The merged tree is tested once more in a fresh clone, with the sample's own tests.
- The ledger may say more than the bill, never less: a call that was cut off or killed counts with all it may cost.
"""

import asyncio
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.assembly import open_deck
from quarterdeck.delivery.order import RunResult
from quarterdeck.demo.actors import Billed
from quarterdeck.demo.sample import GATE, Sample
from quarterdeck.journal.port import Verification
from quarterdeck.kernel import events as e
from quarterdeck.kernel.ids import DECK_STREAM
from quarterdeck.settings import Settings, child_environment
from quarterdeck.workplace.git import NO_CONFIGURATION, Git

_RAN: Final = re.compile(r"^Ran (\d+) tests?", re.MULTILINE)
_TESTS_SECONDS: Final = 60.0
_FIELD: Final = "%x1f"
_LOG: Final = _FIELD.join(
    (
        "%h",
        "%s",
        "%(trailers:key=Quarterdeck-Task,valueonly,separator=%x2C)",
        "%(trailers:key=Quarterdeck-Run,valueonly,separator=%x2C)",
        "%(trailers:key=Assisted-by,valueonly,separator=%x2C)",
    )
)


@dataclass(frozen=True, slots=True)
class Merged:
    """One commit of the target branch."""

    commit: str
    subject: str
    task: str
    run: str
    agent: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that was looked at, and what was found."""

    name: str
    ok: bool
    found: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Everything that was looked at."""

    log: tuple[Merged, ...]
    result: RunResult
    claims: tuple[Claim, ...]
    billed_usd: float
    requests: int

    @property
    def ok(self) -> bool:
        return all(claim.ok for claim in self.claims)


@dataclass(frozen=True, slots=True)
class Looked:
    """What the deck's journal says."""

    result: RunResult
    audit: Verification
    owners: tuple[int, ...]
    """Processes that owned the deck, in order."""


async def prove(sample: Sample, home: Path, run: str, pids: tuple[int, int], billed: Billed | None) -> Proof:
    """Look at everything. `pids`: the engine that was killed and the one that went on."""
    git = Git("-C", str(sample.place), environment=NO_CONFIGURATION)
    looked = await _deck(home, run)
    result = looked.result
    log = await _log(git, sample.base, result.target.branch)
    claims = [
        _landed(log, result),
        await _untouched(git, sample),
        await _tested(git, sample, home.parent / "merged", result.target.branch),
        await _whole(git),
        _intact(looked.audit),
        _owned(looked.owners, pids),
        _paid(result, billed),
    ]
    usd, requests = (billed.usd, billed.requests) if billed is not None else (0.0, 0)
    return Proof(log, result, tuple(claims), usd, requests)


async def _deck(home: Path, run: str) -> Looked:
    async with open_deck(Settings(home=home, user="demo")) as deck:
        owners = [r.event.pid for r in await deck.journal.read(DECK_STREAM) if isinstance(r.event, e.DeckOwned)]
        return Looked(await deck.result(run), await deck.verify(), tuple(owners))


async def _log(git: Git, base: str, branch: str) -> tuple[Merged, ...]:
    if not (await git.run("rev-parse", "--quiet", "--verify", f"refs/heads/{branch}", ok=(0, 1))).text:
        return ()
    text = await git.text("log", "--reverse", f"--format={_LOG}", f"{base}..refs/heads/{branch}")
    return tuple(_entries(text))


def _entries(text: str) -> Iterator[Merged]:
    for line in text.splitlines():
        commit, subject, task, run, agent = line.split("\x1f")
        yield Merged(commit, subject, task, run, agent)


def _landed(log: tuple[Merged, ...], result: RunResult) -> Claim:
    tasks = [entry.task for entry in log]
    once = sorted(tasks) == sorted(task.id for task in result.tasks) and len(tasks) > 0
    ours = all(entry.run == result.run for entry in log)
    return Claim("one commit a task", once and ours, f"{len(log)} commits, each with its task and its run")


async def _untouched(git: Git, sample: Sample) -> Claim:
    head = await git.text("rev-parse", "main")
    branch = await git.text("symbolic-ref", "--short", "HEAD")
    dirty = await git.text("status", "--porcelain")
    ok = head == sample.base and branch == "main" and not dirty
    return Claim("your checkout", ok, "main and its files are as they were" if ok else f"changed: {dirty or head}")


async def _tested(git: Git, sample: Sample, place: Path, branch: str) -> Claim:
    await git.run("clone", "--quiet", "--branch", branch, str(sample.place), str(place))
    before, after = await _tests(sample.place), await _tests(place)
    ok = after.ok and before.ok and after.count > before.count
    verdict = "pass" if after.ok else "FAIL"
    return Claim("the merged tree", ok, f"{after.count} tests {verdict} in a fresh clone ({before.count} before)")


@dataclass(frozen=True, slots=True)
class _Ran:
    ok: bool
    count: int


async def _tests(place: Path) -> _Ran:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *GATE[1:],
        cwd=place,
        env=child_environment({"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": None}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_TESTS_SECONDS):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return _Ran(False, 0)
    found = _RAN.search(said.decode("utf-8", "replace"))
    return _Ran(process.returncode == 0, int(found[1]) if found else 0)


async def _whole(git: Git) -> Claim:
    done = await git.run("fsck", "--full", "--strict", ok=(0, 1, 2, 3, 4, 8))
    return Claim("git fsck", done.exit_code == 0, "clean" if done.exit_code == 0 else done.complaint)


def _intact(audit: Verification) -> Claim:
    found = f"{audit.records} records in {audit.streams} hash chains, intact"
    if audit.faults:
        found = f"{audit.faults[0].stream} #{audit.faults[0].seq}: {audit.faults[0].problem}"
    return Claim("the journal", not audit.faults, found)


def _owned(owners: tuple[int, ...], pids: tuple[int, int]) -> Claim:
    first, second = pids
    return Claim("the engine", owners == pids, f"process {first} until it was killed, then process {second}")


def _paid(result: RunResult, billed: Billed | None) -> Claim:
    if billed is None:
        return Claim("the bill", False, "the model server did not say what it would have billed")
    # Each call is rounded up to a whole nano-USD, on both sides.
    ok = billed.usd > 0 and result.cost_usd >= billed.usd - 1e-6
    return Claim("the bill", ok, f"${result.cost_usd:.4f} in the ledger, never less than the ${billed.usd:.4f} billed")
