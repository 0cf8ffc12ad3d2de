"""Every event has its words, and a live view is a fold over events."""

from typing import Any, get_args

import pytest

from quarterdeck.assembly.results import _Gate
from quarterdeck.cli.board import Board, budget, rows, summary
from quarterdeck.cli.lines import describe
from quarterdeck.cli.look import because
from quarterdeck.cli.reading import About
from quarterdeck.cli.text import Tone
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Change, Harness, Usage
from quarterdeck.kernel.events import EventBase, Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.events import outside as te
from quarterdeck.kernel.events import packs as pe
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.testing import stories

RUN = "r-1abcdefghjk"
GATE = "gate/0123456789abcdef"
SHA = "3f2a91c0de" + "0" * 30
CHANGE = Change(run=RUN, task="docs", attempt=f"{RUN}.docs.1", base=SHA, commit=SHA, tree=SHA, files=("a", "b"))

CREATED = stories.created(RUN, goal="Retry with\nbackoff", base=SHA, into="quarterdeck/x", budget_nusd=5_000_000_000)

CASES: list[tuple[str, EventBase, str, str]] = [
    (
        "deck",
        e.RunsPruned(runs=2, streams=5, records=90, ends_blob="b", by="ada"),
        "deck",
        "2 runs, 90 records taken out by ada; the ends of their streams are kept",
    ),
    ("deck", e.DeckOwned(owner="o", pid=7, host="h", version="1"), "deck", "owned by process 7 on h, version 1"),
    ("deck", e.DeckAnchored(heads_blob="b", streams=1), "deck", "heads of 1 stream anchored"),
    ("run", CREATED, "run", f"{RUN} ordered by ada, onto quarterdeck/x: Retry with backoff"),
    (
        "run",
        e.RunPlanned(plan_blob="p", tasks=2, warnings=("a and b overlap",)),
        "run",
        "plan of 2 tasks; a and b overlap",
    ),
    ("run", e.RunPaused(by="ada"), "run", "paused by ada"),
    ("run", e.RunResumed(by="ada", budget_nusd=2_000_000_000), "run", "resumed by ada, with a budget of $2.00"),
    ("run", e.RunCancelled(by="ada"), "run", "cancelled by ada"),
    ("run", e.RunWaiting(reason="which?"), "run", "waits for a human: which?"),
    (
        "run",
        e.SpendNoticed(
            about="agent",
            name="bee",
            spent_nusd=9_000_000_000,
            usual_nusd=10_000_000,
            bound_nusd=2_000_000_000,
            samples=7,
        ),
        "run",
        "spending is unusual: an attempt of bee has cost $9.00, the last 7 attempts of it $0.0100 in the middle, and "
        "$2.00 is where that ends",
    ),
    (
        "run",
        e.WorkHeld(limit="runs_per_hour", reason="60 runs of ada", until=1.0),
        "run",
        "held by [limits] runs_per_hour: 60 runs of ada",
    ),
    ("run", e.WorkReleased(), "run", "goes on"),
    ("run", e.TaskDispatched(task="docs", attempt="x", number=2, agent="bee"), "docs", "given to bee, attempt 2"),
    ("run", e.NodeStarted(node=Node.REVIEW, task="docs"), "docs", "in review"),
    ("run", e.NodeDelayed(node=Node.CHECK, reason="disk full", seconds=30), "run", "tried again in 30s: disk full"),
    (
        "run",
        e.NodeFinished(node=Node.CHECK, outcome=Outcome.FAILED, task="docs", reason="2 failed"),
        "docs",
        "2 failed",
    ),
    (
        "run",
        e.NodeFinished(node=Node.GATE, outcome=Outcome.CONFLICT, task="docs"),
        "docs",
        "conflicts with what landed",
    ),
    ("run", e.NodeFinished(node=Node.CHECK, outcome=Outcome.OK, task="docs"), "docs", "checking: ok"),
    (
        "run",
        e.TaskEscalated(task="docs", attempt="x", agent="bee", question="what now?"),
        "docs",
        "bee asks a human: what now?",
    ),
    ("run", e.TaskMerged(task="docs", attempt="x", commit=SHA), "docs", "merged as 3f2a91c0de"),
    ("run", e.TaskFailed(task="docs", reason="no"), "docs", "failed: no"),
    ("run", e.TaskBlocked(task="docs", reason="needs api"), "docs", "blocked: needs api"),
    ("run", e.TaskCancelled(task="docs"), "docs", "cancelled"),
    ("run", e.RunReported(report_blob=None, retrospective_blob=None), "run", "report stored"),
    ("run", e.RunFinished(status=RunStatus.DONE, exit_code=0, sha=SHA), "run", "done, target at 3f2a91c0de"),
    ("run", e.RunFinished(status=RunStatus.FAILED, reason="no", exit_code=1, sha=SHA), "run", "failed: no"),
    ("run", e.RunFinished(status=RunStatus.CANCELLED, reason="cancelled", exit_code=130, sha=SHA), "run", "cancelled"),
    (
        "attempt",
        e.AttemptStarted(
            run=RUN, task="docs", number=1, agent="bee", harness=Harness.NATIVE, incarnation=2, base=SHA, workspace="w"
        ),
        "docs.1",
        "bee (native) starts from 3f2a91c0de, anew in a fresh workspace",
    ),
    (
        "attempt",
        e.AttemptStarted(
            run=RUN,
            task="docs",
            number=1,
            agent="bee",
            harness=Harness.NATIVE,
            incarnation=1,
            base="",
            parent=f"{RUN}.docs.1",
            workspace="w",
        ),
        "docs.1",
        f"bee (native) starts beside {RUN}.docs.1",
    ),
    (
        "attempt",
        e.EnvironmentBuilding(commands=("uv sync",)),
        "docs.1",
        "waits for its environment to be built: uv sync",
    ),
    ("attempt", e.HarnessStarted(incarnation=1, detail="sh -c x"), "docs.1", "agent started: sh -c x"),
    (
        "attempt",
        e.HandoffRefused(expects="review", number=1, reason="no verdict"),
        "docs.1",
        "its review is refused, it is asked again: no verdict",
    ),
    (
        "attempt",
        e.HarnessFinished(incarnation=1, ok=False, exit_code=3, reason="x"),
        "docs.1",
        "agent failed (exit 3): x",
    ),
    (
        "attempt",
        e.ModelAsked(step=3, number=2, model="a:b", messages=4, request_hash="h", prefix_blob="p"),
        "docs.1",
        "step 3: asks a:b, try 2",
    ),
    (
        "attempt",
        e.ModelAnswered(
            step=3,
            model="a:b",
            message_blob="m",
            stop="end",
            usage=Usage(input=1000, cache_read=500, output=20),
            cost_nusd=1_200_000_000,
            estimated=True,
            seconds=2,
        ),
        "docs.1",
        "step 3: answer (end) after 2.0s, 1.5k in, 20 out, about $1.20",
    ),
    (
        "attempt",
        e.ModelErred(step=3, model="a:b", failure=FailureClass.TRANSIENT, reason="529", retry_after=4),
        "docs.1",
        "step 3: transient, asked to wait 4.0s: 529",
    ),
    (
        "attempt",
        e.ToolIntended(
            step=1, call="c", tool="run", arguments_blob="b", arguments_hash="h", decision="deny", rules=("no-net",)
        ),
        "docs.1",
        "step 1: run deny: no-net",
    ),
    (
        "attempt",
        e.ToolDone(step=1, call="c", tool="run", ok=False, result_blob="b", flags=("timeout",), seconds=61),
        "docs.1",
        "step 1: run failed after 1m 01s [timeout]",
    ),
    (
        "attempt",
        e.ToolsGiven(tools_blob="b", shown=3, found=40, unavailable=("mcp:x?: it is not approved",)),
        "docs.1",
        "3 tools of outside servers, 40 more to be found: mcp:x?: it is not approved",
    ),
    (
        "attempt",
        e.ToolFellBack(step=1, call="c", tool="fetch", to="copy", failure=FailureClass.TRANSIENT, reason="it is down"),
        "docs.1",
        "step 1: fetch failed, copy instead: it is down",
    ),
    (
        "attempt",
        e.AgentConnected(name="Claude Code", version="2.1", session="s", profile="claude", model="anthropic:s"),
        "docs.1",
        "Claude Code 2.1 connected, asks for anthropic:s",
    ),
    (
        "attempt",
        e.AgentConnected(name="", version="", session="s", profile="codex", login="own"),
        "docs.1",
        "codex uses your own login",
    ),
    ("attempt", e.AgentPrompted(number=2, why="nudge", prompt_blob="b"), "docs.1", "turn 2: is reminded to hand in"),
    (
        "attempt",
        e.AgentTurned(number=1, stop="end_turn", seconds=61, cost_nusd=250_000_000, verified=False),
        "docs.1",
        "turn 1: end_turn after 1m 01s, $0.25 by its own account",
    ),
    ("attempt", e.AgentSaid(text_blob="b", thought=True), "docs.1", "thinks"),
    (
        "attempt",
        e.AgentActing(call="c", title="Run the tests", tool_kind="execute"),
        "docs.1",
        "execute: Run the tests",
    ),
    (
        "attempt",
        e.AgentActed(call="c", title="Run the tests", tool_kind="execute", ok=False, flags=("unknown-outcome",)),
        "docs.1",
        "execute failed [unknown-outcome]: Run the tests",
    ),
    (
        "attempt",
        e.PermissionDecided(
            call="c",
            tool="edit",
            arguments_blob="b",
            arguments_hash="h",
            decision="deny",
            rules=("protected-path",),
            answer="reject_once",
        ),
        "docs.1",
        "asked whether it may edit: reject once: protected-path",
    ),
    (
        "attempt",
        e.IncidentOpened(failure=FailureClass.AUTH, subject="anthropic:x", reason="HTTP 401", fix="give it a key"),
        "docs.1",
        "needs a person: auth of anthropic:x; give it a key: HTTP 401",
    ),
    (
        "attempt",
        e.ContextCompacted(step=9, messages=(), before_tokens=9000, after_tokens=1200),
        "docs.1",
        "context compacted, 9.0k to 1.2k tokens",
    ),
    ("attempt", e.TranscriptExtended(step=1, message_blob="m", why="a reminder"), "docs.1", "told: a reminder"),
    ("attempt", e.TodoChanged(items_blob="b"), "docs.1", "todo list changed"),
    ("attempt", e.NoteRecorded(task="docs", text="I use YAML"), "docs.1", "noted: I use YAML"),
    (
        "attempt",
        e.AttemptTouched(path="a.py", entities=("mean", "", "Table.add"), first=(1, 9, 12), last=(2, 9, 14)),
        "docs.1",
        "changes a.py: mean, Table.add",
    ),
    ("attempt", e.AttemptTouched(path="a.py"), "docs.1", "a.py is as it was again"),
    (
        "attempt",
        e.AttemptWarned(path="a.py", entity="mean", other="r-2.fast.1", title="Make it fast"),
        "docs.1",
        "is told that `mean` in a.py is being changed by fast.1 (Make it fast) too",
    ),
    (
        "attempt",
        e.AttemptWarned(
            path="a.css", entity="", other="r-2.fast.1", title="Make it fast", state="landed", how="feedback"
        ),
        "docs.1",
        "its next attempt will be told that a.css was changed, since it began, by fast.1 (Make it fast) too",
    ),
    ("attempt", e.QuestionAsked(question="which?"), "docs.1", "asks: which?"),
    ("mail", e.MessageSent(message="m", by="ada", text="use YAML"), "docs.1", "told by ada: use YAML"),
    ("attempt", e.MessageDelivered(message="m", how="result", text="x"), "docs.1", "has been told: x"),
    ("attempt", e.Delegated(call="c", child="x.sub1", agent="ant"), "docs.1", "delegated to ant (x.sub1)"),
    (
        "attempt",
        e.LimitReached(limit="turns", used=60, allowed=60, complete_blob="b"),
        "docs.1",
        "turns reached: 60 of 60",
    ),
    (
        "attempt",
        e.LimitReached(limit="wall", used=5.00072, allowed=5, complete_blob="b"),
        "docs.1",
        "wall reached: 5 of 5",
    ),
    (
        "attempt",
        e.LimitReached(limit="tokens", used=2_000_123, allowed=2_000_000, complete_blob="b"),
        "docs.1",
        "tokens reached: 2,000,123 of 2,000,000",
    ),
    (
        "attempt",
        e.LimitReached(limit="usd", used=0.203129, allowed=0.3, complete_blob="b"),
        "docs.1",
        "its budget does not pay the next call: $0.20 of $0.30 spent",
    ),
    ("attempt", e.ChangeExported(change=CHANGE, pack_bytes=2048), "docs.1", "change of 2 files, 2.0 KiB"),
    ("attempt", e.CheckRan(results_blob="b", passed=False, seconds=5), "docs.1", "checks failed in 5.0s"),
    (
        "attempt",
        e.ChangeInspected(findings_blob="b", blocking=1, warnings=2, first="a.py:3: `os` has no name `x`"),
        "docs.1",
        "1 blocking finding: a.py:3: `os` has no name `x`",
    ),
    ("gate", e.GateOpened(repository="/r", branch="main", base=SHA), "gate", "gate of main opened at 3f2a91c0de"),
    ("gate", e.ChangeQueued(change=CHANGE, title="Docs", config_blob="c"), "gate", "queued: docs.1, Docs"),
    (
        "gate",
        e.ChangeClashed(attempt=f"{RUN}.docs.1", against=(f"{RUN}.api.1",)),
        "docs.1",
        "clashes with api.1, and waits for it",
    ),
    (
        "gate",
        e.GateCheckStarted(
            check="k", tip=SHA, stack=(CHANGE.attempt,), commits=(SHA,), tree=SHA, number=2, config_blob="c"
        ),
        "gate",
        "checks the merged tree of docs.1 on 3f2a91c0de, try 2",
    ),
    ("gate", e.GateCheckFinished(check="k", tree=SHA, passed=False, reason="x"), "gate", "3f2a91c0de is red: x"),
    (
        "gate",
        e.MergeResolved(
            attempt=CHANGE.attempt,
            way="entity",
            lost=(e.LostWay(way="git", reason="conflict in a.py"),),
            onto=SHA,
            tree=SHA,
            notes=("a.py: both sides' imports",),
        ),
        "docs.1",
        "merged by entity (git: conflict in a.py); a.py: both sides' imports",
    ),
    (
        "gate",
        e.ChangeReturned(
            attempt=CHANGE.attempt,
            outcome=Outcome.CONFLICT,
            reason="does not merge",
            lost=(e.LostWay(way="git", reason="conflict in a.py"), e.LostWay(way="union", reason="red: x")),
        ),
        "docs.1",
        "does not merge (tried: git: conflict in a.py; union: red: x)",
    ),
    (
        "gate",
        e.LandingIntended(attempt=CHANGE.attempt, old="", new=SHA, tree=SHA),
        "docs.1",
        "from nothing to 3f2a91c0de",
    ),
    ("gate", e.ChangeLanded(attempt=CHANGE.attempt, old=SHA, new=SHA), "docs.1", "landed, target at 3f2a91c0de"),
    (
        "gate",
        e.ChangeReturned(attempt=CHANGE.attempt, outcome=Outcome.HELD, reason="red"),
        "docs.1",
        "returned: held: red",
    ),
    ("gate", e.FlakeSeen(tree=SHA, check="k"), "gate", "a flaky check"),
    ("gate", e.TipMoved(old=SHA, new="f" * 40), "gate", "somebody else moved the target from 3f2a91c0de to ffffffffff"),
    (
        "gate",
        e.TipFoundRed(
            tip=SHA, tree=SHA, checks="k", config_blob="c", reason="exit 1", suspects=(e.Suspect(commit=SHA, tree=SHA),)
        ),
        "gate",
        "the target is red at 3f2a91c0de; what made it so is among 1 commit: exit 1",
    ),
    (
        "gate",
        e.CulpritFound(tip=SHA, run=RUN, commit=SHA, action="tell", reason="abc made work red", fix="git revert abc"),
        "gate",
        "abc made work red; git revert abc",
    ),
    (
        "gate",
        e.ChangeReverted(attempt=CHANGE.attempt, commit=SHA, by="f" * 40, reason="exit 1"),
        "docs.1",
        "docs.1 (3f2a91c0de) is taken back by ffffffffff: exit 1",
    ),
    ("gate", e.TipMended(tip=SHA, run=RUN), "gate", "the target is not red any more, at 3f2a91c0de"),
    (
        "run",
        e.TaskReverted(task="docs", attempt=CHANGE.attempt, commit=SHA, by="f" * 40, reason="exit 1"),
        "docs",
        "3f2a91c0de is taken back by ffffffffff: exit 1",
    ),
    ("gate", e.GateDelayed(reason="disk full", seconds=30), "gate", "cannot work and tries again in 30s: disk full"),
    (
        "gate",
        e.NoteFailed(attempt=CHANGE.attempt, commit=SHA, reason="locked"),
        "docs.1",
        "landed, but the note of 3f2a91c0de waits: locked",
    ),
    ("gate", e.NoteWritten(attempt=CHANGE.attempt, commit=SHA), "docs.1", "the note of 3f2a91c0de is written"),
    (
        "attempt",
        e.ApprovalAsked(
            approval="a-1", what="plan", run=RUN, action_hash="h", title="The plan", subject_blob=SHA, risk="low"
        ),
        "docs.1",
        "asks a person",
    ),
    (
        "approval/r-1.a-1",
        e.ApprovalDecided(approval="a-1", verdict="deny", by="ada", reason="too wide", action_hash="h"),
        "approval",
        "a-1 is denied by ada: too wide",
    ),
    ("run", e.BudgetRaised(by="ada", budget_nusd=2_000_000_000), "run", "ada raised the budget to $2.00"),
    ("run", e.QuestionAnswered(by="ada", answer_blob=SHA), "run", "answered by ada"),
    ("run", e.TaskRetried(task="docs", by="ada", agent="debugger"), "docs", "ada wants it tried again, by debugger"),
    (
        "run",
        pe.PackKept(commit=SHA, onto=(SHA,), pack_blob="b", pack_bytes=2048),
        "run",
        "what leads to 3f2a91c0de is kept for other workers (2.0 KiB)",
    ),
    (
        "attempt",
        pe.WorkspaceKept(workspace="r-1.docs.1-1", base=SHA, commit=""),
        "docs.1",
        "what r-1.docs.1-1 holds could not be kept for other workers",
    ),
    (
        "publish/r-1",
        te.BranchPushed(run=RUN, repository="o/r", branch="b", commit=SHA),
        "publish",
        "b is pushed to o/r at 3f2a91c0de",
    ),
    (
        "publish/r-1",
        te.PullOpened(run=RUN, repository="o/r", number=7, url="http://h/7", commit=SHA),
        "publish",
        "pull request http://h/7 is opened",
    ),
    (
        "publish/r-1",
        te.IssueCommented(run=RUN, repository="o/r", issue=3, about="failed", url="http://h/3"),
        "publish",
        "issue 3 is told: failed",
    ),
    (
        "publish/r-1",
        te.NoticeSent(notice="n", need="question", title="A question", status=200, number=1),
        "publish",
        "told: A question (HTTP 200)",
    ),
    (
        "publish/r-1",
        te.OutboxDelayed(about="notice/n", reason="HTTP 502", seconds=30, number=1),
        "publish",
        "notice/n is tried again in 30s: HTTP 502",
    ),
    ("publish/r-1", te.OutboxFailed(about="notice/n", reason="HTTP 410"), "publish", "notice/n is given up: HTTP 410"),
    (
        "trigger/bugs",
        te.TriggerFired(trigger="bugs", delivery="d", run=RUN, order_blob=SHA),
        "trigger",
        "bugs starts r-1abcdefghjk",
    ),
    (
        "trigger/bugs",
        te.TriggerHeld(trigger="bugs", delivery="d", reason="3 in this hour", until=60),
        "trigger",
        "bugs waits: 3 in this hour",
    ),
    (
        "trigger/bugs",
        te.TriggerOrdered(trigger="bugs", delivery="d", run=RUN),
        "trigger",
        "bugs: r-1abcdefghjk is ordered",
    ),
    (
        "trigger/bugs",
        te.TriggerRefused(trigger="bugs", code="author", reason="eve may not"),
        "trigger",
        "bugs is refused (author): eve may not",
    ),
    (
        "trigger/bugs",
        te.TriggerScheduled(trigger="nightly", schedule="0 3 * * *", timezone="UTC", since=0),
        "trigger",
        "nightly fires at 0 3 * * * (UTC)",
    ),
]

_STREAM = {
    "deck": "deck",
    "run": f"run/{RUN}",
    "mail": f"mail/{RUN}.docs.1",
    "attempt": f"attempt/{RUN}.docs.1",
    "gate": GATE,
}


def record(stream: str, event: EventBase, at: float = 0.0) -> Record:
    return Record(_STREAM.get(stream, stream), 1, at, 1, event, "")


@pytest.mark.parametrize(("stream", "event", "who", "text"), CASES, ids=lambda value: getattr(value, "kind", ""))
def test_words(stream: str, event: EventBase, who: str, text: str) -> None:
    line = describe(record(stream, event))
    assert line.who == who
    assert text in line.text


def test_every_kind_of_event_has_words() -> None:
    union: Any = get_args(e.Event)[0]
    assert {type(case[1]) for case in CASES} == set(get_args(union))


def test_an_event_of_a_newer_version_shows_its_kind() -> None:
    line = describe(record("run", EventBase(kind="run.invented")))
    assert (line.text, line.tone, line.detail) == ("run.invented", Tone.QUIET, True)


def test_what_an_agent_wrote_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in describe(record("attempt", e.NoteRecorded(task="docs", text="\x1b[2J gone"))).text


def board() -> Board:
    seen = Board(RUN)
    events: list[tuple[str, EventBase]] = [
        ("run", CREATED),
        ("run", e.RunPlanned(plan_blob="p", tasks=3)),
        ("run", e.TaskDispatched(task="docs", attempt=f"{RUN}.docs.1", number=1, agent="bee")),
        ("run", e.TaskDispatched(task="api", attempt=f"{RUN}.api.1", number=1, agent="ant")),
        (
            "attempt",
            e.ModelAnswered(
                step=1, model="a:b", message_blob="m", stop="end", usage=Usage(input=900), cost_nusd=4_000_000_000
            ),
        ),
        ("run", e.TaskMerged(task="docs", attempt=f"{RUN}.docs.1", commit=SHA)),
    ]
    for second, (stream, event) in enumerate(events):
        seen.take(record(stream, event, at=100.0 + 10 * second))
    seen.titles = {"docs": "The docs", "api": "The API", "last": "At last"}
    return seen


def test_a_board_folds_a_run() -> None:
    seen = board()
    assert summary(seen, now=200.0) == "1m 40s · 1/3 merged · 1 working · 900 tokens"
    assert budget(seen) == (0.8, "$4.00 of $5.00")
    shown, left = rows(seen, 200.0, 9)
    assert [(row.task, row.status, row.agent, row.time, row.note) for row in shown] == [
        ("docs", TaskStatus.MERGED, "", "30s", "3f2a91c0de"),
        ("api", TaskStatus.IMPLEMENTING, "ant", "1m 10s", "The API"),
        ("last", TaskStatus.PENDING, "", "", "At last"),
    ]
    assert left == ""


def test_what_is_worked_on_is_shown_first_where_room_is_short() -> None:
    shown, left = rows(board(), 200.0, 1)
    assert [row.task for row in shown] == ["api"]
    assert left == "and 2 more: 1 merged, 1 pending"


def test_a_progress_view_shows_changes_and_not_every_step() -> None:
    seen = Board(RUN)
    asked = e.ModelAsked(step=1, model="a:b", messages=1, request_hash="h", prefix_blob="p")
    ended = e.NodeFinished(node=Node.CHECK, outcome=Outcome.FAILED, task="docs", attempt=f"{RUN}.docs.1")
    assert seen.take(record("attempt", asked)) is None
    assert seen.take(record("attempt", ended)) is None
    assert seen.take(record("run", ended)) is not None
    waits = e.NodeStarted(node=Node.APPROVE, task="docs", attempt=f"{RUN}.docs.1")
    assert seen.take(record("run", waits)) is None, "what a person is asked is told by the approval's own record"
    foreign = CHANGE.model_copy(update={"attempt": "r-0other.docs.1"})
    assert (
        seen.take(record("gate", e.ChangeReturned(attempt=foreign.attempt, outcome=Outcome.FAILED, reason=""))) is None
    )


@pytest.mark.parametrize(
    ("stream", "event", "id", "expected"),
    [
        ("run", e.TaskBlocked(task="docs", reason=""), f"{RUN}.docs", True),
        ("run", e.TaskBlocked(task="docs", reason=""), f"{RUN}.doc", False),
        ("run", e.TaskMerged(task="docs", attempt=f"{RUN}.docs.1", commit=SHA), f"{RUN}.docs.1", True),
        ("run", e.RunPaused(by="a"), RUN, True),
        ("attempt", e.TodoChanged(items_blob="b"), RUN, True),
        ("attempt", e.TodoChanged(items_blob="b"), f"{RUN}.docs.1", True),
        ("attempt", e.TodoChanged(items_blob="b"), f"{RUN}.docs.2", False),
        ("gate", e.ChangeQueued(change=CHANGE, title="", config_blob="c"), f"{RUN}.docs", True),
        ("gate", e.TipMoved(old=SHA, new=SHA), RUN, False),
        ("gate", e.ChangeLanded(attempt="r-0other.docs.1", old=SHA, new=SHA), RUN, False),
    ],
)
def test_whom_a_record_concerns(stream: str, event: EventBase, id: str, expected: bool) -> None:
    assert About(id)(record(stream, event)) is expected


def test_the_verdict_about_a_tree_concerns_whoever_has_a_change_in_it() -> None:
    def started(check: str, attempt: str) -> EventBase:
        return e.GateCheckStarted(check=check, tip=SHA, stack=(attempt,), commits=(SHA,), tree=SHA, config_blob="c")

    about = About(f"{RUN}.docs")
    assert about(record("gate", started("g.1", f"{RUN}.docs.1")))
    assert not about(record("gate", started("g.2", f"{RUN}.api.1")))
    verdicts = [e.GateCheckFinished(check=check, tree=SHA, passed=False) for check in ("g.1", "g.2")]
    assert [about(record("gate", verdict)) for verdict in verdicts] == [True, False]
    building = Record("check/g.1", 1, 1.0, 1, e.EnvironmentBuilding(commands=("make env",)), "")
    assert about(building)
    assert describe(building).text == "a check waits for the environment of its merged tree to be built: make env"


def test_many_warnings_about_a_plan_are_counted() -> None:
    many = e.RunPlanned(plan_blob="p", tasks=9, warnings=tuple(f"warning {number}" for number in range(17)))
    text = describe(record("run", many)).text
    assert text == ("plan of 9 tasks; warning 0; 16 more warnings about the plan, all of them in the run's report")


def test_a_gate_that_cannot_work_concerns_whoever_has_a_change_queued() -> None:
    mine, other = _Gate(RUN), _Gate("r-0other")
    delayed = e.GateDelayed(reason="disk full", seconds=30, number=3)
    assert not mine.concerns(delayed)
    for gate in (mine, other):
        gate.concerns(e.ChangeQueued(change=CHANGE, title="", config_blob="c"))
    assert mine.concerns(delayed)
    assert not other.concerns(delayed)
    line = Board(RUN).take(record("gate", delayed))
    assert line is not None
    assert "3 times in a row now" in line.text
    assert mine.concerns(e.ChangeReturned(attempt=CHANGE.attempt, outcome=Outcome.HELD, reason=""))
    assert not mine.concerns(delayed)


def test_a_reason_is_said_where_it_says_more_than_the_status() -> None:
    assert because("cancelled", "cancelled") == because("cancelled", "") == because("cancelled", None) == "cancelled"
    assert because("failed", "no model") == "failed, no model"
