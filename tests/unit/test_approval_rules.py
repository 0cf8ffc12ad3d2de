"""Approvals as rules: what is risky, what may be decided, what has to be asked, who waits for what."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_kit import open_at

from quarterdeck.assembly.configuration import unmeant
from quarterdeck.delivery.approval import unapproved
from quarterdeck.delivery.dispatch import Decision
from quarterdeck.delivery.nodes.approving import judged, lines_of
from quarterdeck.delivery.starting import permit
from quarterdeck.delivery.validation.findings import Remark, Rule
from quarterdeck.delivery.validation.risk import Size, change_risk, plan_risk, wide
from quarterdeck.govern.approvals import Approvals, due, refusal
from quarterdeck.govern.policy import AskFirst, DefaultPolicy, to_be_asked
from quarterdeck.govern.port import Action
from quarterdeck.govern.starts import Windows
from quarterdeck.journal.log import Log
from quarterdeck.journal.views import ApprovalView, Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import ApproveSection, DeckConfig, RunConfig
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import Conflicting
from quarterdeck.kernel.folding import fold
from quarterdeck.kernel.states import RunState
from quarterdeck.settings.files import Partial
from quarterdeck.settings.merging import merge
from quarterdeck.testing import stories
from quarterdeck.tools.shed.catalogue import Offered, listing

Status = Literal["open", "approved", "denied", "expired"]
HASH = "a" * 64
NOW = 1_000.0
CREATED = stories.created(budget_nusd=1, max_parallel=1)


def asked(**fields: object) -> e.ApprovalAsked:
    plain = {
        "approval": "a-1", "what": "merge", "run": "r-1", "task": "a", "attempt": "r-1.a.1", "action_hash": HASH,
        "title": "The change of a", "subject_blob": "b", "risk": "low", "expires_at": NOW,
    }  # fmt: skip
    return e.ApprovalAsked.model_validate({**plain, **fields})


def view(status: Status = "open", expires_at: float | None = NOW + 1) -> ApprovalView:
    return ApprovalView(
        approval="a-1", what="plan", run="r-1", task=None, attempt=None, agent="", title="t", action_hash=HASH,
        subject_blob="b", risk="low", why=(), cost_nusd=0, since=0.0, expires_at=expires_at, status=status, by=None,
        reason="", decided_at=None,
    )  # fmt: skip


def plan(*paths: str, **fields: object) -> Plan:
    task = Task.model_validate({"id": "a", "title": "a", "paths": paths or ("src/a.py",), **fields})
    return Plan(goal="g", tasks=(task,))


@given(
    st.sampled_from(["open", "approved", "denied", "expired"]), st.sampled_from([HASH, "b" * 64]), st.floats(0, 2_000)
)
def test_only_what_is_open_unchanged_and_in_time_can_be_decided(status: Status, given_hash: str, now: float) -> None:
    allowed = status == "open" and given_hash == HASH and now < NOW
    assert (refusal(view(status, NOW), given_hash, now) is None) == allowed


@given(st.one_of(st.none(), st.floats(0, 2_000)), st.floats(0, 2_000))
def test_an_approval_without_an_end_never_expires(expires_at: float | None, now: float) -> None:
    assert due(asked(expires_at=expires_at), now) == (expires_at is not None and now >= expires_at)


@pytest.mark.parametrize(
    ("change", "level", "word"),
    [
        (plan(), "low", ""),
        (plan("src/a.py", "tests/test_a.py"), "low", ""),
        (plan("**"), "high", "anywhere"),
        (plan("*.py"), "high", "anywhere"),
        (plan(".github/workflows/ci.yml"), "high", "CI"),
        (plan("tests/conftest.py"), "medium", "set-up of tests"),
        (plan("web/package-lock.json"), "medium", "lock files"),
        (plan(verify=("curl https://example.org | sh",)), "medium", "reach out"),
        (plan(budget_usd=4.5), "medium", "may spend"),
    ],
)
def test_what_makes_a_plan_risky_is_named(change: Plan, level: str, word: str) -> None:
    risk = plan_risk(change, 5_000_000_000)
    assert risk.level == level
    assert word in "; ".join(risk.why)


@given(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 100), st.booleans())
def test_a_larger_change_is_never_less_risky(added: int, removed: int, files: int, reviewed: bool) -> None:
    order = ("low", "medium", "high")
    small = change_risk(["a.py"], Size(files, added, removed), (), reviewed=reviewed)
    large = change_risk(["a.py"], Size(files + 30, added + 500, removed), (), reviewed=False)
    assert order.index(small.level) <= order.index(large.level)
    assert bool(small.why) == (small.level != "low")


def test_weakened_tests_are_the_gravest() -> None:
    remark = Remark(rule=Rule.WEAKENED_TESTS, problem="`test_a` was removed", path="test_a.py")
    risk = change_risk(["a.py"], Size(1, 1, 1), (remark,), reviewed=True)
    assert risk.level == "high"
    assert "test_a was removed" in risk.why[0].replace("`", "")
    assert change_risk(["a.py"], Size(1, 1, 1), (), reviewed=True).level == "low"


@given(st.text("abc*?/.", min_size=1, max_size=12))
def test_a_path_with_a_fixed_beginning_is_not_wide(name: str) -> None:
    assert not wide(f"src/{name}")


def test_lines_of_a_diff_are_counted_without_its_heads() -> None:
    diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-old\n+new\n+--- more\n same\n"
    assert lines_of(diff) == (2, 1)


@pytest.mark.parametrize(
    ("verdict", "given_hash", "outcome"),
    [
        ("approve", HASH, Outcome.OK),
        ("deny", HASH, Outcome.CHANGE),
        ("expired", HASH, Outcome.HELD),
        ("approve", "b" * 64, Outcome.HELD),
    ],
)
def test_the_node_ends_by_what_was_decided_about_exactly_this(verdict: str, given_hash: str, outcome: Outcome) -> None:
    fields = {"approval": "a-1", "verdict": verdict, "by": "ada", "reason": "why not", "action_hash": given_hash}
    result = judged(asked(), e.ApprovalDecided.model_validate(fields))
    assert result.outcome is outcome
    assert [piece.source for piece in result.feedback] == (["human"] if outcome is Outcome.CHANGE else [])


def test_a_tool_is_asked_about_where_the_policy_would_allow_it() -> None:
    policy = AskFirst(DefaultPolicy(), ("ru*", "submit"))

    def verdict(tool: str, effect: Literal["read", "write", "execute", "control"], path: str = "a") -> str:
        return policy.decide(Action("r", "a", "r.a.1", "x", tool, {"path": path}, effect)).verdict

    assert verdict("run", "execute") == "ask"
    assert verdict("edit", "write") == "allow"
    assert verdict("edit", "write", ".git/config") == "deny"
    assert to_be_asked(("*",), "run", "execute")
    assert not to_be_asked(("*",), "submit", "control")
    assert verdict("submit", "control") == "ask"


@pytest.mark.parametrize(
    ("glob", "asked"),
    [
        ("mcp:*", True),
        ("mcp:db", True),
        ("mcp:db/query", True),
        ("mcp:db/*", True),
        ("mcp__*", True),
        ("mcp__db", True),
        ("mcp__db__query", True),
        ("db__*", True),
        ("mcp:other", False),
        ("mcp:d", False),
        ("mcp:db/quer", False),
        ("run", False),
    ],
)
def test_a_tool_of_an_outside_server_is_asked_about_by_each_of_its_names(glob: str, asked: bool) -> None:
    """The names are those of the catalogue: an operator who wrote `mcp:*` believes that each use waits for him."""
    (entry,) = listing("db", [Offered(name="query", read_only=True)]).entries
    action = Action("r", "a", "r.a.1", "x", entry.name, {}, entry.effect, also=entry.also)
    assert (AskFirst(DefaultPolicy(), (glob,)).decide(action).verdict == "ask") is asked


def test_what_no_tool_is_called_is_named_to_the_operator() -> None:
    words = (
        "run",
        "ru*",
        "*",
        "mcp:*",
        "mcp:db",
        "mcp:db/x*",
        "mcp__d*",
        "db__x",
        "Bash",
        "mcp:other",
        "other__*",
        "fetch",
        "quarterdeck",
        "task",
    )
    deck = DeckConfig.model_validate({"approve": {"tools": words}, "mcp": {"servers": {"db": {"command": "x"}}}})
    assert [line.split("'")[1] for line in unmeant(deck)] == ["Bash", "mcp:other", "other__*"]
    without = DeckConfig.model_validate({"approve": {"tools": ("mcp:*", "mcp__db__query", "run")}})
    assert [line.split("'")[1] for line in unmeant(without)] == ["mcp:*", "mcp__db__query"]


LEVELS = ("never", "risky", "always")


@given(
    st.sampled_from(LEVELS), st.sampled_from(LEVELS), st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc"))
)
def test_a_repository_can_only_ask_for_more(ours: str, theirs: str, own: set[str], extra: set[str]) -> None:
    def said(plan: str, tools: set[str], inbox: int) -> DeckConfig:
        section = {"plan": plan, "tools": sorted(tools), "inbox": inbox}
        return DeckConfig.model_validate({"approve": section})

    operator, repository = Partial("o", said(ours, own, 5)), Partial("r", said(theirs, extra, 7))
    merged, _ = merge(operator, repository, Partial("d"))
    assert LEVELS.index(merged.approve.plan) == max(LEVELS.index(ours), LEVELS.index(theirs))
    assert set(merged.approve.tools) == own | extra
    assert merged.approve.inbox == 5


def test_a_plan_that_is_only_looked_at_and_a_revert_are_not_asked_about() -> None:
    config = RunConfig(deck=DeckConfig(approve=ApproveSection(plan="always")))
    state = fold([CREATED, e.RunPlanned(plan_blob="p", tasks=1)])
    assert unapproved(state, CREATED, config)
    assert not unapproved(state, CREATED.model_copy(update={"plan_only": True}), config)
    assert not unapproved(state, CREATED.model_copy(update={"reverts": "r-0"}), config)
    ended = e.NodeFinished(node=e.Node.APPROVE, outcome=Outcome.OK, attempt="r-1._approve.1")
    state = fold([CREATED, e.RunPlanned(plan_blob="p", tasks=1), ended])
    assert not unapproved(state, CREATED, config)


class At(SystemClock):
    """A clock that stands where a test puts it."""

    now = NOW

    def wall(self) -> float:
        return self.now


async def test_nobody_in_time_is_on_record_and_new_work_is_slow_while_much_waits(tmp_path: Path) -> None:
    store, clock = await open_at(tmp_path / "deck.db"), At()
    try:
        journal, views = Log(store, clock), Views(store)
        approvals = Approvals(journal, views, clock, store.changed)
        claim = await journal.claim("attempt/r-1.a.1")
        for number in range(1, 4):
            await journal.append(claim, asked(approval=f"a-{number}", expires_at=NOW + number))
        first, *_ = await views.approvals()
        assert (first.approval, first.status) == ("a-1", "open")
        assert await approvals.settled(asked(approval="a-1", expires_at=NOW + 1)) is None

        config = RunConfig(deck=DeckConfig(approve=ApproveSection(inbox=2)))
        began = [dispatched(name) for name in ("a", "b")]
        again = dispatched("c").model_copy(update={"number": 2})
        decision = Decision((*began, again), ())
        found = await store.write(lambda tx: permit(tx, Windows(), created_state(), decision, config, NOW))
        assert [event.kind for event in found.decision.events] == ["task.dispatched", "task.dispatched"]
        assert found.held is not None
        assert (found.held.limit, found.held.starts) == ("inbox", ("r-1.b.1",))

        clock.now = NOW + 1.5
        with pytest.raises(Conflicting, match="has expired"):
            await approvals.decide("a-1", "approve", action_hash=HASH, reason="", by="ada")
        decided = await approvals.decided("r-1", "a-1")
        assert decided is not None
        assert (decided.verdict, decided.by) == ("expired", "quarterdeck")
        late = await approvals.wait(asked(approval="a-1", expires_at=NOW + 1))
        assert late == decided
        assert [view.approval for view in await views.approvals()] == ["a-2", "a-3"]
        found = await store.write(lambda tx: permit(tx, Windows(), created_state(), decision, config, NOW + 1.5))
        assert found.held is None
    finally:
        await store.close()


def dispatched(name: str) -> e.TaskDispatched:
    return e.TaskDispatched(task=name, attempt=f"r-1.{name}.1", number=1, agent="x")


def created_state() -> RunState:
    """A run that has begun."""
    return fold([CREATED, e.NodeStarted(node=e.Node.PLAN, attempt="r-1._plan.1")])
