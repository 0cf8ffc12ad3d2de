"""The ACP harness against an agent that does each thing that can go wrong: how the attempt ends, what is on record, and
that nothing of the agent is left."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from acp_kit import AGENT, QUICK, SUBMIT, Stage, stage
from deck_kit import carried, events, git, place_at, task

from quarterdeck.agents import acp, acp_client, acp_talk, acp_updates
from quarterdeck.agents.profiles import GENERIC
from quarterdeck.agents.profiles.port import Context, Launch, Login
from quarterdeck.assembly import open_deck
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Agent, AgentLimits, Harness, Submission, Usage
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import FailureClass, SandboxDied
from quarterdeck.workplace.port import HOME

WRITE = {"write": ["a.txt", "changed\n"]}


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def ended(made: Stage) -> e.HarnessFinished:
    """How it is on record that the harness ended; it is the last of its events, and the key is dead."""
    found = [event for event in await made.events() if isinstance(event, e.HarnessFinished)]
    assert len(found) == 1
    return found[0]


async def processes(made: Stage, command: str) -> int:
    assert made.sandbox is not None
    script = f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o '[{command[0]}]{command[1:]}' | wc -l"
    return int((await made.sandbox.exec(script, timeout=20)).stdout)


@pytest.mark.parametrize("kind", ["none", pytest.param("bubblewrap", marks=pytest.mark.sandbox)])
async def test_an_agent_that_does_its_work(tmp_path: Path, kind: str) -> None:
    async with stage(tmp_path, kind) as made:
        finished = await made.work(
            {"say": ["I begin ", "now."]},
            {"plan": ["Look", "Write"]},
            {"call": {"path": "a.txt"}},
            WRITE,
            {"permission": ["execute", "ls", {"command": ["ls", "-l"]}]},
            {"model": 1},
            {"tool": ["note", {"text": "greet() takes a name"}]},
            {"keep": "answers"},
            SUBMIT,
        )
        assert (finished.outcome, finished.handoff) == (Outcome.OK, Submission(summary="Did it."))
        answers = await made.answers()
        assert answers[0] == {"outcome": "selected", "optionId": "o-allow_once"}
        assert answers[1][0] == 200, "the gateway is reached from inside"
        events = await made.events()
        kinds = [event.kind for event in events]
        order = ("harness.started", "agent.connected", "agent.prompted", "agent.said", "todo.changed", "agent.acting")
        assert [kinds.index(kind) for kind in order] == sorted(kinds.index(kind) for kind in order)
        assert kinds.index("agent.acted") < kinds.index("permission.decided") < kinds.index("model.asked")
        assert kinds[-2:] == ["agent.turned", "harness.finished"]
        said = next(event for event in events if isinstance(event, e.AgentSaid))
        assert await made.body(said.text_blob) == "I begin now."
        acted = next(event for event in events if isinstance(event, e.AgentActed))
        assert (acted.ok, await made.body(acted.output_blob)) == (True, "written")
        prompted = next(event for event in events if isinstance(event, e.AgentPrompted))
        text = await made.body(prompted.prompt_blob)
        assert "Task: greet" in text and "How to hand in" in text
        assert (await ended(made)).ok


async def test_a_claim_of_success_with_nothing_done_is_reminded_once_and_then_failed(plain: Stage) -> None:
    finished = await plain.work(
        {"say": ["All done!"]}, again=[{"say": ["Really, all done!"]}, {"keep": ".git/answers"}]
    )
    assert (finished.outcome, finished.failure) == (Outcome.FAILED, FailureClass.HANDOFF)
    assert "Really, all done!" in finished.feedback[0].detail
    reminder = (await plain.answers(".git/answers"))[0]
    assert "submit" in reminder and "nothing in the workspace has changed" in reminder
    assert [event.why for event in await plain.events() if isinstance(event, e.AgentPrompted)] == ["task", "nudge"]


async def test_a_change_that_was_not_handed_in_is_judged_as_it_is(plain: Stage) -> None:
    finished = await plain.work(WRITE, {"say": ["I am done."]})
    assert finished.outcome is Outcome.OK
    assert isinstance(finished.handoff, Submission)
    assert "without handing in" in finished.handoff.summary and "I am done." in finished.handoff.summary


async def test_one_that_dies_in_its_turn(plain: Stage) -> None:
    finished = await plain.work(WRITE, {"begin": "t9"}, {"die": 3})
    assert (finished.outcome, finished.failure) == (Outcome.FAILED, FailureClass.TOOL)
    assert finished.reason.endswith("ended with exit code 3: dying as told")
    assert "dying as told" in finished.feedback[0].detail
    assert (await ended(plain)).exit_code == 3
    acted = next(event for event in await plain.events() if isinstance(event, e.AgentActed))
    assert (acted.call, acted.ok, acted.flags) == ("t9", False, ("unknown-outcome",))


async def test_what_was_handed_in_before_it_died_counts(plain: Stage) -> None:
    finished = await plain.work(WRITE, SUBMIT, {"die": 1})
    assert (finished.outcome, finished.handoff) == (Outcome.OK, Submission(summary="Did it."))


async def test_one_that_never_greets(tmp_path: Path) -> None:
    async with stage(tmp_path, patience=replace(QUICK, start=0.5)) as made:
        finished = await made.work(faults=["--mute"])
        assert finished.outcome is Outcome.FAILED
        assert "did not answer initialize" in finished.reason
        assert await processes(made, "acp_agent.py --mute") == 0


@pytest.mark.parametrize(("fault", "reason"), [("--old", "another version"), ("--gone", "cannot be started")])
async def test_one_that_cannot_be_talked_to(plain: Stage, fault: str, reason: str) -> None:
    assignment = await plain.assigned(faults=[fault])
    if fault == "--gone":
        agent = assignment.agent.model_copy(update={"command": ("no-such-program",)})
        assignment = replace(assignment, agent=agent)
    finished = await plain.harness.work(assignment)
    assert (finished.outcome, finished.failure) == (Outcome.FAILED, FailureClass.TOOL)
    assert reason in finished.reason


async def test_junk_on_stdout_is_skipped_and_told(plain: Stage) -> None:
    finished = await plain.work(WRITE, SUBMIT, faults=["--junk"])
    assert finished.outcome is Outcome.OK
    report = json.loads(await plain.body((await ended(plain)).output_blob))
    assert report["junk"].startswith("7 lines were no messages, the first: Welcome")


async def test_a_flood_ends_it(plain: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acp_updates, "UPDATES", 2_000)
    finished = await plain.work({"flood": 5_000})
    assert finished.outcome is Outcome.FAILED
    assert "more than 2000 updates" in finished.reason
    assert len(await plain.events()) < 20, "chunks of one message are one event"


async def test_a_request_after_cancel_is_answered(tmp_path: Path) -> None:
    async with stage(tmp_path, patience=replace(QUICK, first=0.5, idle=0.5)) as made:
        finished = await made.work(
            {"await-cancel": ""},
            {"permission": ["execute", "rm -rf .", {"command": "rm -rf ."}]},
            {"keep": ".git/answers"},
            {"stop": "cancelled"},
        )
        assert (finished.outcome, "fell silent" in finished.reason) == (Outcome.FAILED, True)
        assert await made.answers(".git/answers") == [{"outcome": "cancelled"}]
        decided = next(event for event in await made.events() if isinstance(event, e.PermissionDecided))
        assert (decided.late, decided.answer, decided.tool) == (True, "cancelled", "run")


async def test_one_that_ignores_cancel_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acp, "_GRACE", 0.2)
    async with stage(tmp_path, patience=replace(QUICK, first=0.5, idle=0.5)) as made:
        finished = await made.work({"await-cancel": "ignore"}, faults=["--stubborn"])
        assert finished.outcome is Outcome.FAILED
        assert await processes(made, "acp_agent.py --stubborn") == 0


async def test_a_daemon_is_gone_with_it(plain: Stage) -> None:
    nap = f"600.{secrets.randbelow(10**9):09}"
    finished = await plain.work({"daemon": nap}, WRITE, SUBMIT)
    assert finished.outcome is Outcome.OK
    assert await processes(plain, f"sleep {nap}") == 0


async def test_a_question_waits_for_a_person(plain: Stage) -> None:
    finished = await plain.work({"tool": ["ask", {"question": "Which port?"}]})
    assert (finished.outcome, finished.reason) == (Outcome.WAITING, "Which port?")


async def test_policy_answers_requests_with_the_option_that_says_it(plain: Stage) -> None:
    listed = ("read", "edit", "submit")
    finished = await plain.work(
        {"permission": ["edit", "Edit .git/config", {"file_path": ".git/config"}]},
        {"permission": ["edit", "Edit a.txt", {"file_path": "a.txt"}, ["reject_always", "allow_always"]]},
        {"permission": ["execute", "ls", {"command": "ls"}, ["allow_once", "reject_always"]]},
        {"permission": ["execute", "ls", {"command": "ls"}, ["allow_once"]]},
        {"permission": ["other", "mcp__quarterdeck__submit", {"summary": "x"}]},
        {"announce": {"toolCallId": "1", "title": "Hand in", "kind": "other", "name": "mcp__quarterdeck__submit"}},
        {"announce": {"toolCallId": "2", "title": "Run", "kind": "execute", "rawInput": {"command": "ls"}}},
        {"announce": {"toolCallId": "3", "title": "Edit", "kind": "edit", "rawInput": {"path": "a.txt"}}},
        {"keep": "answers"},
        SUBMIT,
        tools=listed,
    )
    assert finished.outcome is Outcome.OK
    chosen = [answer.get("optionId", answer["outcome"]) for answer in await plain.answers()]
    assert chosen[:5] == ["o-reject_once", "o-allow_always", "o-reject_always", "cancelled", "o-reject_once"]
    assert chosen[5:] == ["o-allow_once", "o-reject_once", "o-allow_once"]
    decided = [event for event in await plain.events() if isinstance(event, e.PermissionDecided)]
    assert [event.rules for event in decided[:3]] == [("protected-path",), ("default",), ("tool-listed",)]
    assert [event.tool for event in decided[4:]] == ["other", "quarterdeck", "run", "edit"]


async def test_a_session_is_begun_with_what_its_profile_says_beside_the_protocol(plain: Stage) -> None:
    plain.profile = replace(
        GENERIC, launch=lambda context: replace(GENERIC.launch(context), meta={"own": {"strict": 1}})
    )
    finished = await plain.work({"keep": "answers"}, SUBMIT)
    assert finished.outcome is Outcome.OK
    assert (await plain.answers())[0] == {"own": {"strict": 1}}


async def test_one_whose_turn_ends_with_a_refusal_is_told_why_and_goes_on(plain: Stage) -> None:
    refused = {"permission": ["edit", "Edit .git/config", {"file_path": ".git/config"}]}
    finished = await plain.work(refused, {"stop": "cancelled"}, again=[WRITE, {"keep": ".git/answers"}, SUBMIT])
    assert finished.outcome is Outcome.OK
    told = (await plain.answers(".git/answers"))[1]
    assert "Edit .git/config" in told and "no agent may change" in told
    assert [event.why for event in await plain.events() if isinstance(event, e.AgentPrompted)] == ["task", "refused"]


async def test_an_exhausted_budget_is_the_runs_end(tmp_path: Path) -> None:
    async with stage(tmp_path, run_usd=0.00001) as made:
        finished = await made.work(WRITE, {"model": 3}, {"keep": "answers"}, {"error": "the model said no"})
        assert (finished.outcome, finished.failure) == (Outcome.EXHAUSTED, FailureClass.BUDGET)
        status, text = (await made.answers())[-1]
        assert status == 400 and "budget" in text
        limit = next(event for event in await made.events() if isinstance(event, e.LimitReached))
        assert limit.limit == "usd"


async def test_calls_beyond_its_turns_do_not_leave(plain: Stage) -> None:
    finished = await plain.work({"model": 5}, {"keep": "answers"}, limits=AgentLimits(wall=60, turns=2))
    assert [status for status, _ in await plain.answers()] == [200, 200, 400]
    assert finished.outcome is Outcome.FAILED and finished.feedback[0].source == "limit"


async def test_wall_time_is_a_limit(plain: Stage) -> None:
    finished = await plain.work({"await-cancel": ""}, {"stop": "cancelled"}, limits=AgentLimits(wall=0.75))
    assert finished.outcome is Outcome.FAILED and "limits.wall" in finished.reason
    assert any(isinstance(event, e.LimitReached) and event.limit == "wall" for event in await plain.events())


@pytest.mark.parametrize(
    ("stop", "failure"),
    [("refusal", FailureClass.REFUSED), ("max_tokens", FailureClass.TRUNCATED), ("nonsense", FailureClass.TOOL)],
)
async def test_other_stops_are_failures_of_their_class(plain: Stage, stop: str, failure: FailureClass) -> None:
    finished = await plain.work(WRITE, {"stop": stop})
    assert (finished.outcome, finished.failure) == (Outcome.FAILED, failure)


@pytest.mark.parametrize("words", ["\ud800", "a\0b", "\udfff" * 3000])
async def test_words_that_nothing_can_store_are_a_failure_like_any_other(plain: Stage, words: str) -> None:
    finished = await plain.work({"refuse": words})
    assert (finished.outcome, finished.failure) == (Outcome.FAILED, FailureClass.TOOL)
    assert "refused session/prompt" in finished.reason
    assert any(isinstance(event, e.HarnessFinished) for event in await plain.events())


async def test_names_that_nothing_can_store_keep_it_from_no_work(plain: Stage) -> None:
    odd: dict[str, Any] = {"leave": {"toolCallId": "c\ud800", "kind": "edit", "title": "Edit", "rawInput": {}}}
    assert (await plain.work(odd, WRITE, SUBMIT, {"keep": "answers"}, faults=["--odd"])).outcome is Outcome.OK
    assert (await plain.answers())[0] == {"outcome": "selected", "optionId": "o-allow_once"}
    found = await plain.events()
    (connected,) = [event for event in found if isinstance(event, e.AgentConnected)]
    assert (connected.name, connected.version, connected.session) == ("scripted\ufffd", "1.0\ufffd", "s1\ufffd")
    assert [event.call for event in found if isinstance(event, e.PermissionDecided)] == ["c\ufffd"]


async def test_an_agent_that_wants_a_login_fails_as_such(plain: Stage) -> None:
    finished = await plain.work({"error": "auth required"})
    assert (finished.outcome, finished.failure) == (Outcome.FAILED, FailureClass.AUTH)


async def test_a_persons_message_is_the_next_prompt(plain: Stage) -> None:
    assignment = await plain.assigned(
        {"run": "touch begun && while [ ! -e told ]; do sleep 0.05; done"}, again=[{"keep": "answers"}, SUBMIT]
    )
    working = asyncio.create_task(plain.harness.work(assignment))
    await assignment.sandbox.exec("while [ ! -e begun ]; do sleep 0.05; done", timeout=60)
    plain.tell("Use tabs.")
    await assignment.sandbox.write("told", b"")
    assert (await working).outcome is Outcome.OK
    assert "Use tabs." in (await plain.answers())[0]
    assert [event.why for event in await plain.events() if isinstance(event, e.AgentPrompted)] == ["task", "message"]


async def test_one_that_starts_its_servers_as_programs_hands_in_too(plain: Stage) -> None:
    finished = await plain.work(WRITE, SUBMIT, faults=["--stdio"])
    assert (finished.outcome, finished.handoff) == (Outcome.OK, Submission(summary="Did it."))


async def test_cancelled_work_leaves_neither_process_nor_key(plain: Stage) -> None:
    assignment = await plain.assigned({"run": "touch begun"}, {"await-cancel": "ignore"}, faults=["--cut"])
    working = asyncio.create_task(plain.harness.work(assignment))
    await assignment.sandbox.exec("while [ ! -e begun ]; do sleep 0.05; done", timeout=60)
    key = next(iter(plain.desks._open))
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await processes(plain, "acp_agent.py --cut") == 0
    known = plain.gateway.known(key)
    assert known is not None and known.why_dead() is not None
    assert plain.desks.find(key) is None


async def test_a_sandbox_that_dies_under_it_blames_nobody(plain: Stage) -> None:
    with pytest.raises(SandboxDied):
        await plain.work({"run": "kill -9 $(cut -d' ' -f4 /proc/$PPID/stat)"}, {"await-cancel": ""})


async def test_the_users_own_login_is_copied_and_what_it_costs_is_not_verified(plain: Stage, tmp_path: Path) -> None:
    login = tmp_path / "user" / ".tool"
    login.mkdir(parents=True)
    (login / "auth.json").write_text("the login")

    def launch(context: Context) -> Launch:
        assert (context.endpoint, context.key) == (None, "")
        files: Mapping[str, bytes] = {".tool/config": b"quiet"}
        return Launch(argv=("python3", "acp_agent.py"), files=files)

    plain.profile = replace(
        GENERIC, name="claude", launch=launch, login=Login(files=(".tool",), hosts=("vendor.example",))
    )
    finished = await plain.work(
        {"run": 'cat "$HOME/.tool/auth.json" "$HOME/.tool/config" > a.txt; echo spoilt > "$HOME/.tool/auth.json"'},
        {"usage": 0.25},
        SUBMIT,
        profile="claude",
        login="own",
    )
    assert finished.outcome is Outcome.OK
    assert plain.sandbox is not None
    assert await plain.sandbox.read("a.txt") == b"the loginquiet"
    assert (login / "auth.json").read_text() == "the login"
    turned = next(event for event in await plain.events() if isinstance(event, e.AgentTurned))
    assert (turned.verified, turned.cost_nusd, turned.usage) == (False, 250_000_000, Usage())


@pytest.mark.parametrize("used", [10**30, 2**63, -1])
async def test_what_nobody_can_have_used_is_no_usage(plain: Stage, tmp_path: Path, used: int) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "token").write_text("x")
    plain.profile = replace(GENERIC, name="claude", login=Login(files=("token",), hosts=("vendor.example",)))
    finished = await plain.work({"used": used}, {"run": "echo x > a.txt"}, SUBMIT, profile="claude", login="own")
    assert finished.outcome is Outcome.OK, finished.reason
    turned = next(event for event in await plain.events() if isinstance(event, e.AgentTurned))
    assert turned.usage == Usage()


@pytest.mark.parametrize("taken_up", [False, True])
async def test_a_login_that_cannot_be_shared_comes_back_renewed_and_no_copy_stays(
    plain: Stage, tmp_path: Path, taken_up: bool
) -> None:
    """After a crash, what its CLI renewed before is what it goes on with."""
    kept = tmp_path / "logins" / "codex" / ".tool" / "auth.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("1")
    login = Login(
        files=(".tool/auth.json",), hosts=(), renewed=lambda before, after, now: after if after > before else None
    )
    plain.profile = replace(GENERIC, name="codex", login=login)
    assignment = await plain.assigned(
        {"run": 'cat "$HOME/.tool/auth.json" > a.txt; printf 3 > "$HOME/.tool/auth.json"'},
        SUBMIT,
        profile="codex",
        login="own",
    )
    inside = f"{assignment.sandbox.where(HOME)}/.tool"
    if taken_up:
        left = await assignment.sandbox.exec(f"mkdir -p {inside} && printf 2 > {inside}/auth.json", timeout=20)
        assert left.exit_code == 0
    finished = await plain.harness.work(replace(assignment, taken_up=taken_up))
    assert finished.outcome is Outcome.OK, finished.reason
    assert await assignment.sandbox.read("a.txt") == (b"2" if taken_up else b"1")
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("3", 0o600)
    before = kept.with_name("auth.json.before")
    assert (before.read_text(), before.stat().st_mode & 0o777) == ("2" if taken_up else "1", 0o600)
    there = await assignment.sandbox.exec(("ls", "-A", inside), timeout=20)
    assert there.stdout == b""


async def test_questions_that_are_none_are_answered_and_nothing_waits_for_them(plain: Stage) -> None:
    asked = {"permission": ["execute", "ls", {"command": "ls"}]}
    finished = await plain.work({"unclear": acp_client.AT_ONCE + 1}, asked, WRITE, {"keep": "answers"}, SUBMIT)
    assert finished.outcome is Outcome.OK, finished.reason
    *unclear, last = await plain.answers()
    assert unclear == [True] * (acp_client.AT_ONCE + 1)
    assert last["optionId"] == "o-allow_once"


async def test_more_requests_than_anybody_can_answer_end_it(plain: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acp_talk, "PERMISSIONS", 20)
    finished = await plain.work(*[{"permission": ["execute", "ls", {"command": "ls"}]}] * 25, {"await-cancel": ""})
    assert finished.outcome is Outcome.FAILED and "more permissions" in finished.reason
    assert len([event for event in await plain.events() if isinstance(event, e.PermissionDecided)]) == 20


async def test_a_request_about_much_counts_as_several(plain: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acp_talk, "PERMISSIONS", 20)
    monkeypatch.setattr(acp_talk, "LIGHT", 1_000)
    held = {"toolCallId": "1", "title": "Run", "kind": "execute", "rawInput": {"command": "ls", "why": "x" * 5_500}}
    again = [{"leave": {"toolCallId": "1"}}] * 4
    finished = await plain.work({"announce": held}, *again, {"await-cancel": ""})
    assert finished.outcome is Outcome.FAILED and "more permissions" in finished.reason
    assert len([event for event in await plain.events() if isinstance(event, e.PermissionDecided)]) == 3


DEFINITION = """\
---
name: outside
harness: acp
command: ["python3", "acp_agent.py"]
model: openai:scripted
---
Do what you are told.
"""
PRICED = '[prices]\n"openai:scripted" = { input = 1, output = 1 }\n'


@pytest.mark.sandbox
async def test_what_was_handed_in_before_a_kill_lands_beside_another_kind_of_agent(tmp_path: Path) -> None:
    steps = json.dumps([{"run": "echo x >> outside.txt"}, SUBMIT])
    with place_at(tmp_path) as place:
        place.keys, place.url = {"OPENAI_API_KEY": "key"}, "http://127.0.0.1:9"
        place.begin({".quarterdeck/agents/outside.md": DEFINITION, "acp_agent.py": AGENT.read_text()})
        place.operator(PRICED)
        tasks = (
            task("outside", f"DO:{steps}", agent="outside"),
            task("shell", "echo y > shell.txt", needs=["outside"]),
        )
        plan = str(place.plan(*tasks))
        code, _, err = place.call("run", "--plan", plan, "--json", QUARTERDECK_PROBE="harness.finished:1:kill")
        assert code == -9, err
        run = json.loads(place.call("ps", "--json")[1].splitlines()[0])["run"]
        code, out, err = place.call("resume", run, "--json")
        assert code == 0, (out, err)
        final = json.loads(out.splitlines()[-1])
        assert [(each["status"], each["attempts"]) for each in final["tasks"]] == [("merged", 1), ("merged", 1)]
        branch = final["target"]["branch"]
        assert git(place.repository, "show", f"{branch}:outside.txt") == "x", "it was not done twice"
        async with open_deck(place.settings) as deck:
            kinds = [event.kind for event in await events(deck, f"attempt/{run}.outside.1")]
        assert kinds.count("agent.connected") == kinds.count("harness.finished") == 1


@pytest.mark.sandbox
@pytest.mark.parametrize("memory", ["--load", "--forget"])
async def test_after_a_kill_it_goes_on_in_its_workspace(tmp_path: Path, memory: str) -> None:
    """With what it remembers, where it can; else with what it finds."""
    steps = [{"run": "echo x >> outside.txt"}, {"tool": ["note", {"text": "n"}]}, SUBMIT]
    with place_at(tmp_path) as place:
        place.keys, place.url = {"OPENAI_API_KEY": "key"}, "http://127.0.0.1:9"
        definition = DEFINITION.replace('.py"', f'.py", "{memory}"')
        place.begin({".quarterdeck/agents/outside.md": definition, "acp_agent.py": AGENT.read_text()})
        place.operator(PRICED)
        plan = str(place.plan(task("outside", f"DO:{json.dumps(steps)}", agent="outside")))
        code, _, err = place.call("run", "--plan", plan, "--json", QUARTERDECK_PROBE="tool.intended:1:kill")
        assert code == -9, err
        run = json.loads(place.call("ps", "--json")[1].splitlines()[0])["run"]
        code, out, err = place.call("resume", run, "--json")
        assert code == 0, (out, err)
        final = json.loads(out.splitlines()[-1])
        remembers = memory == "--load"
        text = git(place.repository, "show", f"{final['target']['branch']}:outside.txt")
        assert text.split() == ["x"] * (1 if remembers else 2), "one workspace; only who remembers does nothing again"
        async with open_deck(place.settings) as deck:
            found = await events(deck, f"attempt/{run}.outside.1")
            said = [await deck.journal.get(each.text_blob) for each in found if isinstance(each, e.AgentSaid)]
            asked = [await deck.journal.get(each.prompt_blob) for each in found if isinstance(each, e.AgentPrompted)]
        assert [each.resumed for each in found if isinstance(each, e.AgentConnected)] == [False, remembers]
        whys = [each.why for each in found if isinstance(each, e.AgentPrompted)]
        assert whys == ["task", "resumed" if remembers else "task"]
        assert b"what I said before" not in said, "what is told again is not recorded again"
        assert (b"An earlier process worked here" in asked[1]) is not remembers
        assert sum(isinstance(each, e.AttemptStarted) for each in found) == 1


async def test_without_a_meter_turns_are_what_it_does(plain: Stage, tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "token").write_text("x")
    login = Login(files=("token",), hosts=("vendor.example",))
    plain.profile = replace(GENERIC, name="claude", login=login)
    finished = await plain.work(
        *({"begin": f"t{number}"} for number in range(5)),
        {"await-cancel": ""},
        limits=AgentLimits(wall=60, turns=4),
        profile="claude",
        login="own",
    )
    assert finished.outcome is Outcome.FAILED and "4 turns" in finished.reason
    assert any(isinstance(event, e.LimitReached) and event.limit == "turns" for event in await plain.events())
    agent = Agent(name="a", harness=Harness.ACP, command=("x",), profile="claude", login="own")
    assert (await plain.harness.gear(agent, RunConfig(deck=DeckConfig()))).hosts == ("vendor.example",)


async def test_a_goal_is_planned_on_the_cli_where_no_tier_names_a_model(tmp_path: Path) -> None:
    work = json.dumps([{"run": "echo x >> a.txt"}, SUBMIT])
    planned = {"id": "a", "title": "a", "instructions": f"DO:{work}", "paths": ["a.txt"], "verify": ["test -f a.txt"]}
    goal = "DO:" + json.dumps([{"tool": ["submit", {"tasks": [planned]}]}])
    with place_at(tmp_path) as place:
        place.keys, place.url = {"OPENAI_API_KEY": "key"}, "http://127.0.0.1:9"
        place.begin({".quarterdeck/agents/outside.md": DEFINITION, "acp_agent.py": AGENT.read_text()})
        place.operator(PRICED)
        async with carried(place, goal=goal, agent="outside", sandbox="none") as (_, result):
            assert [(each.id, each.status) for each in result.tasks] == [("a", "merged")], result
