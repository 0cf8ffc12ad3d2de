"""What an outside agent reports and asks, and how its attempt ended: the pure parts of the ACP harness."""

import asyncio
import base64
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents import acp_updates
from quarterdeck.agents.acp_asked import changes, whole
from quarterdeck.agents.acp_judge import Evidence, judge, report
from quarterdeck.agents.acp_login import Logins, login_files
from quarterdeck.agents.acp_permissions import action_of, choose, unknown, unlisted
from quarterdeck.agents.acp_record import Recorder
from quarterdeck.agents.acp_start import models_of, window_of
from quarterdeck.agents.acp_talk import Talked
from quarterdeck.agents.acp_updates import Began, Ended, Planned, Said, Updates
from quarterdeck.agents.acp_values import Announced, Option, Permission
from quarterdeck.agents.gate import action_hash
from quarterdeck.agents.limits import Bounds
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.profiles import GENERIC, PROFILES
from quarterdeck.agents.profiles.codex import renewed
from quarterdeck.agents.profiles.port import Login
from quarterdeck.agents.roster import build_roster, parse_agent, shipped_agents
from quarterdeck.assembly.configuration import check_logins
from quarterdeck.assembly.lending import lent
from quarterdeck.gateway.port import Stopped
from quarterdeck.govern.policy import AskFirst, DefaultPolicy, decide_safely
from quarterdeck.govern.port import Action, Decision
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Agent, AgentLimits, Harness, Submission
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import AgentFailed, BadConfiguration, FailureClass

BOUNDS = Bounds(turns=10, wall=60, tokens=1000, nusd=None)
ALLOW, DENY, ASK = Decision("allow", ("a",)), Decision("deny", ("d",)), Decision("ask", ("q",))


def token(account: str, text: str) -> str:
    """One of the vendor's, as far as anybody here reads it."""
    claims = json.dumps({"https://api.openai.com/auth": {"chatgpt_account_id": account}, "jti": text}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


def login(text: str, moment: str) -> dict[str, Any]:
    """What Codex keeps."""
    tokens = {"id_token": token("a", text), "access_token": token("a", f"{text} access"), "refresh_token": f"r {text}"}
    return {"OPENAI_API_KEY": None, "tokens": {**tokens, "account_id": "a"}, "last_refresh": moment}


LENT = login("old", "2026-01-01T00:00:00Z")
NEW = login("new", "2026-02-01T00:00:00Z")
MOMENT = datetime(2026, 2, 3, tzinfo=UTC).timestamp()


def chunk(text: str, kind: str = "agent_message_chunk") -> dict[str, Any]:
    return {"sessionUpdate": kind, "content": {"type": "text", "text": text}}


def assignment(**agent: Any) -> Assignment:
    nothing: Any = None
    made = Agent(name="outside", harness=Harness.ACP, command=("x",), **agent)
    config = RunConfig(deck=DeckConfig())
    return Assignment("r", "r.t.1", 1, 1, made, claim=nothing, sandbox=nothing, config=config, goal="")


def asked(kind: str, title: str = "", given_input: Any = None, paths: tuple[str, ...] = ()) -> Permission:
    return Permission("c", title, kind, given_input, paths, ())


def denied(state: Updates, call: str) -> bool:
    """Whether a request that names nothing but that call is denied because nobody can tell what it is."""
    return unknown(whole(Permission(call, "", "", None, (), ()), state.announced(call))) is not None


class Nowhere:
    """A journal that keeps nothing."""

    async def put(self, data: bytes) -> str:
        return ids.digest(data)

    def append_soon(self, claim: object, event: e.EventBase) -> "asyncio.Future[None]":
        e.encode(event)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class TestUpdates:
    def test_chunks_are_one_message_until_something_else_comes(self) -> None:
        state = Updates()
        assert [state.take(chunk(text)) for text in ("Hel", "lo")] == [[], []]
        assert state.take(chunk("hm", "agent_thought_chunk")) == [Said("Hello", thought=False)]
        call = {"sessionUpdate": "tool_call", "toolCallId": "1", "title": "Read", "kind": "read", "rawInput": {"a": 1}}
        assert state.take(call) == [Said("hm", thought=True), Began("1", "Read", "read", '{"a": 1}')]

    def test_a_call_keeps_what_was_said_of_it_at_any_time(self) -> None:
        state = Updates()
        state.take({"sessionUpdate": "tool_call", "toolCallId": "1", "title": "Run", "kind": "execute", "rawInput": {}})
        state.take({"sessionUpdate": "tool_call_update", "toolCallId": "1", "rawInput": {"command": "ls"}})
        ended = state.take(
            {"sessionUpdate": "tool_call_update", "toolCallId": "1", "status": "failed", "rawOutput": "no such file"}
        )
        assert ended == [Ended("1", "Run", "execute", False, '{"command": "ls"}', "no such file")]
        assert state.unfinished() == []

    def test_what_json_can_spell_and_nothing_can_store_ends_no_attempt(self) -> None:
        state = Updates()
        call = {"sessionUpdate": "tool_call", "toolCallId": "\udcff1", "title": "\ud83d", "kind": "\udcff"}
        facts = [*state.take(call), *state.unfinished()]
        assert [fact.call for fact in facts if isinstance(fact, Began | Ended)] == ["\ufffd1", "\ufffd1"]
        recorder = Recorder(cast(Any, Nowhere()), cast(Any, None))
        asyncio.run(recorder.keep(facts))
        assert state.announced("\udcff1") is not None

    @pytest.mark.parametrize("status", [[], {}, 3, None, "pending"])
    def test_how_far_a_step_of_a_plan_is_may_be_told_in_an_odd_way(self, status: object) -> None:
        (planned,) = Updates().take({"sessionUpdate": "plan", "entries": [{"content": "x", "status": status}]})
        assert isinstance(planned, Planned) and planned.items[0].status == "open"

    def test_a_plan_that_did_not_change_is_no_news(self) -> None:
        state, entry = Updates(), {"content": "Look", "status": "in_progress", "priority": "high"}
        first = state.take({"sessionUpdate": "plan", "entries": [entry]})
        assert isinstance(first[0], Planned) and first[0].items[0].status == "doing"
        assert state.take({"sessionUpdate": "plan", "entries": [entry]}) == []

    def test_a_long_message_is_bounded_with_its_end_kept(self) -> None:
        state = Updates()
        for number in range(3_000):
            state.take(chunk(f"{number:>999} "))
        said = state.flush()[0]
        assert isinstance(said, Said)
        assert len(said.text.encode()) <= acp_updates.TEXT_LIMIT and "2999" in said.text

    def test_more_than_a_bound_is_counted_not_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(acp_updates, "CALLS", 2)
        state = Updates()
        facts = [
            fact
            for number in range(5)
            for fact in state.take({"sessionUpdate": "tool_call", "toolCallId": str(number), "title": "x"})
        ]
        assert (len(facts), state.left_out, state.tool_calls) == (2, 3, 5)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        ),
        st.sampled_from(["agent_message_chunk", "tool_call", "tool_call_update", "plan", "usage_update", "new", None]),
        st.sampled_from(
            ["content", "entries", "rawInput", "rawOutput", "cost", "toolCallId", "title", "status", "kind"]
        ),
    )
    def test_nothing_that_an_agent_sends_is_an_error(self, value: Any, kind: Any, key: str) -> None:
        state = Updates()
        facts = state.take({"sessionUpdate": kind, "toolCallId": "1", key: value}) + state.flush()
        assert all(isinstance(fact, Said | Began | Ended | Planned) for fact in facts)


class TestPermissions:
    @pytest.mark.parametrize(
        ("decision", "kinds", "chosen"),
        [
            (ALLOW, ("reject_once", "allow_always", "allow_once"), "allow_once"),
            (ALLOW, ("reject_once", "allow_always"), "allow_always"),
            (ALLOW, ("reject_once",), None),
            (DENY, ("allow_once", "reject_always", "reject_once"), "reject_once"),
            (ASK, ("allow_once", "reject_always"), "reject_always"),
            (DENY, ("allow_once", "allow_always"), None),
            (None, ("allow_once", "reject_once"), None),
        ],
    )
    def test_the_answer_is_chosen_by_its_kind(self, decision: Any, kinds: tuple[str, ...], chosen: str | None) -> None:
        assert choose(decision, tuple(Option(kind, kind) for kind in kinds)) == chosen

    @given(st.sampled_from([DENY, ASK, None]), st.lists(st.builds(Option, st.text(), st.text()), max_size=6))
    def test_what_is_not_allowed_never_becomes_an_allowing_answer(self, decision: Any, options: list[Option]) -> None:
        kinds = [option.kind for option in options if option.id == choose(decision, tuple(options))]
        assert not kinds or any(kind.startswith("reject") for kind in kinds)

    def test_arguments_come_in_one_form(self) -> None:
        edit = action_of(
            assignment(), asked("edit", "Edit", {"file_path": "/real/w/a.py"}, ("/real/w/b.py",)), "/real/w"
        )
        assert (edit.tool, edit.effect) == ("edit", "write")
        assert edit.arguments["paths"] == ["/workspace/a.py", "/workspace/b.py"]
        run = action_of(assignment(), asked("execute", "ls", {"command": ["ls", "-l"]}), "/w")
        assert (run.tool, run.effect, run.arguments["command"]) == ("run", "execute", "ls -l")
        assert action_of(assignment(), asked("new kind", "x", "text"), "/w").effect == "execute"

    @pytest.mark.parametrize(
        ("kind", "one", "other"),
        [
            ("edit", {"paths": [{"path": "a", "content": "x"}]}, {"paths": [{"path": "a", "content": "y"}]}),
            ("edit", {"path": {"name": "a"}, "file": "b"}, {"path": {"name": "c"}, "file": "b"}),
            ("execute", {"command": ["rm", "a b"]}, {"command": ["rm", "a", "b"]}),
            ("execute", {"command": ["a", "b"]}, {"command": "a b", "given": {"command": ["a", "b"]}}),
            ("edit", {"path": "a", "paths": "x"}, {"path": "a", "paths": "y"}),
            ("edit", {"path": "a", "changes": "x"}, {"path": "a", "changes": "y"}),
            ("edit", {"path": "a", "changes_sha256": "x"}, {"path": "a", "changes_sha256": "y"}),
        ],
    )
    def test_a_word_about_one_input_is_none_about_another(
        self, kind: str, one: dict[str, Any], other: dict[str, Any]
    ) -> None:
        shown = {"type": "diff", "path": "a", "oldText": "1", "newText": "2"}
        asking = [replace(asked(kind, "Do", fields), content=(shown,)) for fields in (one, other)]
        actions = [action_of(assignment(), each, "/w") for each in asking]
        assert len({action_hash(action.tool, action.arguments) for action in actions}) == 2

    def test_an_input_that_says_no_more_is_not_told_twice(self) -> None:
        fields = {"paths": ["/w/a", "b"], "path": "/w/c", "content": "x"}
        told = action_of(assignment(), asked("edit", "Do", fields), "/w").arguments
        assert told["paths"] == ["/workspace/c", "/workspace/a", "b"]
        assert "given" not in told

    @pytest.mark.parametrize(
        ("permission", "tool"),
        [
            (replace(asked("other", "Hand in", {"summary": "x"}), name="mcp__quarterdeck__submit"), "quarterdeck"),
            (
                asked("execute", "mcp.quarterdeck.note", {"server": "quarterdeck", "tool": "note", "arguments": {}}),
                "quarterdeck",
            ),
            (asked("execute", "", {"server": "quarterdeck", "tool": "sub", "arguments": {}}), "run"),
            (asked("execute", "", {"server": "quarterdeck2", "tool": "submit", "arguments": {}}), "run"),
            (
                asked("execute", "", {"server": "quarterdeck", "tool": "submit", "arguments": {}, "command": "rm"}),
                "run",
            ),
            (asked("execute", "rm -rf src (quarterdeck mcp server)"), "run"),
            (asked("execute", "quarterdeck_x; rm -rf src"), "run"),
            (asked("execute", "submit (quarterdeck MCP Server)"), "run"),
            (asked("other", "submit (quarterdeck MCP Server)"), "other"),
            (asked("", "mcp__quarterdeck__submit"), "other"),
            (replace(asked("execute", "mcp__quarterdeck__submit"), name="Bash"), "run"),
            (replace(asked("other", "x"), name="mcp__quarterdeck__submit; rm"), "other"),
            (replace(asked("other", "x"), name="submit"), "other"),
            (asked("execute", "mcp__quarterdeck__submit; rm -rf .", {"command": "rm -rf ."}), "run"),
            (asked("edit", "quarterdeck.submit", {"path": ".git/config"}), "edit"),
        ],
    )
    def test_only_what_a_client_writes_itself_makes_a_tool_ours(self, permission: Permission, tool: str) -> None:
        """Gemini CLI shows a command as the title, and no input."""
        action = action_of(assignment(), permission, "/w", ("submit", "note"), fields=True)
        assert action.tool == tool
        order = assignment(tools=("read",))
        assert (unlisted(order, action) is None) is (tool == "quarterdeck")
        unasked = decide_safely(AskFirst(DefaultPolicy(), ("*",)), action).verdict == "allow"
        assert unasked is (tool == "quarterdeck")

    def test_where_a_model_may_have_written_the_input_it_makes_no_tool_ours(self) -> None:
        """Only Codex is known to write these fields itself."""
        assert [name for name, profile in PROFILES.items() if profile.tool_fields] == ["codex"]
        assert not GENERIC.tool_fields
        claimed = asked("execute", "rm -rf src", {"server": "quarterdeck", "tool": "note", "arguments": {}})
        assert action_of(assignment(), claimed, "/w", ("note",), fields=GENERIC.tool_fields).tool == "run"
        assert action_of(assignment(), claimed, "/w", ("note",)).tool == "run"

    def test_a_request_that_names_the_call_alone_is_about_what_was_announced_of_it(self) -> None:
        state = Updates()
        diff = {"type": "diff", "path": "/w/a.py", "oldText": "one", "newText": "two"}
        for announced in (
            {"toolCallId": "1", "kind": "execute", "title": "Run", "rawInput": {"command": "rm -rf src"}},
            {"toolCallId": "2", "kind": "edit", "title": "Edit", "content": [diff], "locations": [{"path": "/w/a.py"}]},
            {
                "toolCallId": "3",
                "kind": "other",
                "title": "x",
                "_meta": {"claudeCode": {"toolName": "mcp__quarterdeck__submit"}},
            },
            {"toolCallId": "4", "kind": "execute", "title": f"{'a' * 400}; rm -rf src"},
        ):
            state.take({"sessionUpdate": "tool_call", **announced})

        def action(call: str, kind: str = "") -> Action:
            permission = whole(Permission(call, "", kind, None, (), ()), state.announced(call))
            return action_of(assignment(), permission, "/w", ("submit",))

        run, edit = action("1"), action("2")
        assert (run.tool, run.arguments["command"]) == ("run", "rm -rf src")
        assert (edit.tool, edit.arguments["path"]) == ("edit", "/workspace/a.py")
        assert edit.arguments["changes"] == [["--- /w/a.py", "@@ line 1", "-one", "+two"]]
        assert (action("3").tool, action("5").tool) == ("quarterdeck", "other")
        assert action("4", "execute").arguments["command"].endswith("rm -rf src"), "a command is never cut"
        state.take({"sessionUpdate": "tool_call_update", "toolCallId": "1", "status": "completed"})
        assert denied(state, "1"), "a call that has ended is no leave for what else comes under its id"
        again = {"toolCallId": "1", "kind": "execute", "title": "Run", "rawInput": {"command": "ls"}}
        state.take({"sessionUpdate": "tool_call", **again})
        assert action("1").arguments["command"] == "ls" and not denied(state, "1"), "it is another call of that id"

    def test_what_the_request_itself_says_comes_first(self) -> None:
        known = Announced("old", "read", input={"path": "a"}, paths=("a",))
        permission = whole(asked("execute", "new", {"command": "ls"}), known)
        assert (permission.kind, permission.title, permission.input) == ("execute", "new", {"command": "ls"})

    def test_after_any_number_of_calls_a_request_is_about_what_was_announced(self) -> None:
        state = Updates()
        for number in range(acp_updates.CALLS + 10):
            call = {"toolCallId": str(number), "kind": "execute", "title": "Run", "rawInput": {"command": "rm -rf src"}}
            state.take({"sessionUpdate": "tool_call", **call})
            permission = whole(Permission(str(number), "", "", None, (), ()), state.announced(str(number)))
            action = action_of(assignment(), permission, "/w")
            assert (action.tool, action.arguments["command"]) == ("run", "rm -rf src")
            state.take({"sessionUpdate": "tool_call_update", "toolCallId": str(number), "status": "completed"})
        assert (state.tool_calls, state.left_out) == (acp_updates.CALLS + 10, 10)

    def test_of_more_calls_under_way_than_are_held_none_is_allowed_by_its_id_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(acp_updates, "CALLS", 2)
        state = Updates()
        for number in range(3):
            call = {"toolCallId": str(number), "kind": "execute", "title": "Run", "rawInput": {"command": "ls"}}
            state.take({"sessionUpdate": "tool_call", **call})
            state.take({"sessionUpdate": "tool_call_update", "toolCallId": str(number), "status": "in_progress"})
        assert state.tool_calls == 3
        assert [denied(state, str(number)) for number in range(4)] == [False, False, True, False]
        assert unknown(whole(asked("execute", "", {"command": "ls"}), state.announced("2"))) is None

    def test_nothing_is_held_of_a_call_that_has_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(acp_updates, "HELD", 10_000)
        state, diff = Updates(), {"type": "diff", "path": "p", "oldText": "", "newText": "y" * 2_000}
        for number in range(40):
            call = {"toolCallId": str(number), "kind": "edit", "content": [diff]}
            state.take({"sessionUpdate": "tool_call", **call, "status": "completed" if number % 2 else "pending"})
            ended = state.take({"sessionUpdate": "tool_call_update", **call, "status": "completed"})
            assert len(ended) == 1 - number % 2
            assert state.take({"sessionUpdate": "tool_call_update", **call}) == []
        long = {"command": "x" * 9_000}
        state.take({"sessionUpdate": "tool_call", "toolCallId": "new", "kind": "execute", "rawInput": long})
        held = state.announced("new")
        assert held is not None and (held.input, held.lost) == (long, False)
        assert state.unfinished() == [Ended("new", "", "execute", False, json.dumps(long), "")]

    def test_what_is_held_is_measured_once(self) -> None:
        """Each word about a call that holds much would stop everything else for as long as its measuring takes."""
        state = Updates()
        state.take({"sessionUpdate": "tool_call", "toolCallId": "1", "rawInput": [0] * 200_000})
        began = time.thread_time()
        for _ in range(1_000):
            state.take({"sessionUpdate": "tool_call_update", "toolCallId": "1", "status": "in_progress"})
        assert time.thread_time() - began < 2
        held = state.announced("1")
        assert held is not None
        assert (held.input, held.lost) == ([0] * 200_000, False)

    def test_what_comes_instead_of_what_is_held_counts_in_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(acp_updates, "HELD", 1_000)
        state = Updates()
        for part in ("rawInput", "title") * 10:
            state.take({"sessionUpdate": "tool_call", "toolCallId": "1", part: "x" * 300})
        held = state.announced("1")
        assert held is not None and not held.lost
        state.take({"sessionUpdate": "tool_call", "toolCallId": "2", "locations": [{"path": "x" * 500}]})
        lost = state.announced("2")
        assert lost is not None and lost.lost

    def test_more_than_is_held_is_not_allowed_unseen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(acp_updates, "HELD", 1_000)
        state, large = Updates(), {"toolCallId": "1", "kind": "edit", "rawInput": {"text": "x" * 2_000}}
        state.take({"sessionUpdate": "tool_call", **large})
        decision = unknown(whole(Permission("1", "", "", None, (), ()), state.announced("1")))
        assert decision is not None and decision.verdict == "deny"
        assert unknown(whole(asked("edit", "", {"text": "x"}), state.announced("1"))) is None
        state.take({"sessionUpdate": "tool_call", "toolCallId": "2", "kind": "read", "rawInput": {"path": "a"}})
        second = state.announced("2")
        assert second is not None and not second.lost, "what is let go of makes room"

    def test_a_word_is_about_what_will_be_written(self) -> None:
        """Gemini CLI shows what it writes beside the request, and the path alone in it."""

        def written(new: str, old: str | None = "one\ntwo\nthree") -> Action:
            content = ({"type": "diff", "path": "/w/a.py", "oldText": old, "newText": new},)
            return action_of(
                assignment(), replace(asked("edit", "a.py: 1 edit", paths=("/w/a.py",)), content=content), "/w"
            )

        first = written("one\n2\nthree")
        assert first.arguments["changes"] == [["--- /w/a.py", "@@ line 2", " one", "-two", "+2", " three"]]
        assert written("new\nfile", None).arguments["changes"] == [["+++ /w/a.py", "@@ line 1", "+new", "+file"]]
        large = "one\n" + "x" * 400_000
        hashes = [
            action_hash("edit", each.arguments)
            for each in (first, written("one\n3\nthree"), written(f"{large}a{large}"), written(f"{large}b{large}"))
        ]
        assert len(set(hashes)) == len(hashes)
        assert action_hash("edit", written("one\n2\nthree").arguments) == hashes[0]

    @pytest.mark.parametrize("given_input", [None, {"file_path": "/w/a.py"}])
    @pytest.mark.parametrize("locations", [(), ("/w/a.py",)])
    def test_every_file_that_will_be_written_is_one_of_the_paths(
        self, given_input: Any, locations: tuple[str, ...]
    ) -> None:
        """The protocol leaves it to the agent whether it names a file beside its diff."""
        content = tuple(
            {"type": "diff", "path": path, "oldText": None, "newText": "x"}
            for path in ("/w/a.py", "/w/.git/hooks/pre-commit")
        )
        for kind in ("edit", "", "other", "new", "think", "read", "search", "fetch", "switch_mode"):
            asking = replace(asked(kind, "Edit", given_input, locations), content=content)
            action = action_of(assignment(), asking, "/w")
            assert action.arguments["paths"] == ["/workspace/a.py", "/workspace/.git/hooks/pre-commit"]
            decision = decide_safely(DefaultPolicy(), action)
            assert (decision.verdict, decision.rules) == ("deny", ("protected-path",)), kind

    @pytest.mark.parametrize("locations", [(), ("/w/a.py",)])
    @pytest.mark.parametrize(
        "listed",
        [
            {"paths": ["/w/.git/config"]},
            {"files": ["/w/a.py", "/w/.git/config"]},
            {"path": "/w/a.py", "paths": [{"path": "/w/.git/config"}, 3]},
        ],
    )
    def test_what_an_input_lists_are_paths_too(self, listed: Any, locations: tuple[str, ...]) -> None:
        action = action_of(assignment(), asked("edit", "Edit", listed, locations), "/w")
        assert "/workspace/.git/config" in action.arguments["paths"]
        assert decide_safely(DefaultPolicy(), action).rules == ("protected-path",)

    def test_a_command_that_shows_what_it_writes_is_a_command(self) -> None:
        shown = ({"type": "diff", "path": "/w/a.py", "oldText": None, "newText": "x"},)
        action = action_of(assignment(), replace(asked("execute", "Run", {"command": "x"}), content=shown), "/w")
        assert (action.tool, action.effect, action.arguments["paths"]) == ("run", "execute", ["/workspace/a.py"])

    @given(st.lists(st.sampled_from("ab\n")), st.lists(st.sampled_from("ab\n")))
    def test_the_lines_shown_hold_the_whole_difference(self, old: list[str], new: list[str]) -> None:
        before, after = "".join(old).split("\n"), "".join(new).split("\n")
        ((_, place, *lines),), _ = changes(({"type": "diff", "oldText": "".join(old), "newText": "".join(new)},))
        at = int(place.removeprefix("@@ line ")) - 1
        removed, added = ([line[1:] for line in lines if line[0] == sign] for sign in "-+")
        assert before[at : at + len(removed)] == removed
        assert before[:at] + added + before[at + len(removed) :] == after

    @pytest.mark.parametrize(
        ("kind", "denied"), [("read", False), ("edit", False), ("delete", False), ("execute", True), ("think", False)]
    )
    def test_a_definitions_tools_hold(self, kind: str, denied: bool) -> None:
        order = assignment(tools=("read", "write", "submit"))
        assert (unlisted(order, action_of(order, asked(kind), "/w")) is not None) is denied


class TestJudge:
    def judged(self, stop: str = "end_turn", **known: Any) -> Finished:
        evidence = Evidence(**{"talked": Talked(stop), "desk": None, "changed": False, **known})
        json.loads(report(evidence))
        return judge(assignment(), BOUNDS, evidence)[0]

    def test_the_desk_comes_first(self) -> None:
        handed = Finished(Outcome.OK, handoff=Submission(summary="x"))
        stopped = Stopped("usd", "no money", run=True)
        failed = Talked("", failed=AgentFailed("dead", FailureClass.TOOL))
        assert self.judged(desk=handed, stopped=stopped, talked=failed) is handed

    def test_money_of_the_run_exhausts_it_and_its_own_does_not(self) -> None:
        assert self.judged(stopped=Stopped("usd", "x", run=True), changed=True).outcome is Outcome.EXHAUSTED
        assert self.judged(stopped=Stopped("usd", "x", run=False), changed=True).outcome is Outcome.FAILED

    @pytest.mark.parametrize("stop", ["refusal", "max_tokens", "max_turn_requests", "cancelled"])
    def test_no_stop_but_the_end_of_a_turn_is_a_result(self, stop: str) -> None:
        assert self.judged(stop, changed=True).outcome is Outcome.FAILED

    def test_success_without_a_change_is_none(self) -> None:
        assert self.judged(changed=True).outcome is Outcome.OK
        nothing = self.judged(last_words="Done!")
        assert (nothing.outcome, nothing.failure) == (Outcome.FAILED, FailureClass.HANDOFF)

    def test_a_reviewer_without_a_review_has_failed_whatever_it_changed(self) -> None:
        evidence = Evidence(Talked("end_turn"), None, changed=True)
        assert judge(assignment(expects="review"), BOUNDS, evidence)[0].outcome is Outcome.FAILED

    def test_a_dead_process_is_named_with_what_it_last_said(self) -> None:
        failed = Talked("", failed=AgentFailed("the agent ended during session/prompt", FailureClass.TOOL))
        finished = self.judged(talked=failed, process="ended with exit code 3", stderr="a\noh no\n\n", changed=True)
        assert finished.reason.endswith("ended with exit code 3: oh no")
        assert "a\noh no" in finished.feedback[0].detail


class TestStart:
    CONFIG = RunConfig(deck=DeckConfig(tiers={"hands": ("openai:gpt", "anthropic:s"), "brain": ("anthropic:o",)}))

    @pytest.mark.parametrize(
        ("profile", "agent", "models"),
        [
            ("claude", {"tier": "hands"}, ("anthropic:s",)),
            ("claude", {"tier": "brain"}, ("anthropic:o",)),
            ("codex", {"tier": "brain"}, ("openai:gpt",)),
            ("codex", {"model": "openai:x"}, ("openai:x",)),
            ("gemini", {}, PROFILES["gemini"].models),
            ("claude", {"login": "own"}, ()),
        ],
    )
    def test_models_are_those_that_the_cli_speaks_to(self, profile: str, agent: Any, models: tuple[str, ...]) -> None:
        made = Agent(name="a", harness=Harness.ACP, profile=profile, **agent)
        assert models_of(made, PROFILES[profile], self.CONFIG) == models

    def test_a_reviewer_asks_another_vendor_than_the_author_s_first(self) -> None:
        made = Agent(name="a", harness=Harness.ACP, tier="hands")
        assert models_of(made, GENERIC, self.CONFIG, "openai") == ("anthropic:s", "openai:gpt")
        assert models_of(made, GENERIC, self.CONFIG, "anthropic") == ("openai:gpt", "anthropic:s")

    def test_what_the_gateway_cannot_pass_on_is_no_model_for_any_agent(self) -> None:
        made = Agent(name="a", command=("x",), tier="hands")
        some = RunConfig(deck=DeckConfig(tiers={"hands": ("ollama:o", "chat:c")}))
        assert models_of(made, GENERIC, some) == ("chat:c",)
        with pytest.raises(BadConfiguration, match="has no model"):
            models_of(made, GENERIC, RunConfig(deck=DeckConfig(tiers={"hands": ("ollama:o",)})))
        with pytest.raises(BadConfiguration, match="cannot use ollama:o"):
            models_of(made.model_copy(update={"model": "ollama:o"}), GENERIC, some)

    def test_a_model_that_it_does_not_speak_to_is_refused(self) -> None:
        made = Agent(name="a", harness=Harness.ACP, profile="claude", model="openai:gpt")
        with pytest.raises(BadConfiguration, match="cannot use openai:gpt"):
            models_of(made, PROFILES["claude"], self.CONFIG)
        with pytest.raises(BadConfiguration, match="has no model"):
            models_of(Agent(name="a", command=("x",)), GENERIC, RunConfig(deck=DeckConfig()))

    @pytest.mark.parametrize(
        ("model", "own", "told"),
        [
            ("chat:mine", None, (8_192, 2_048)),
            ("chat:short", None, (40_000, 500)),
            ("chat:other", None, (None, None)),
            ("anthropic:claude-haiku-5-5", None, (100_000, 25_000)),
            ("anthropic:claude-opus-5", None, (1_000_000, 128_000)),
            ("anthropic:claude-opus-5", 60_000, (60_000, 15_000)),
        ],
    )
    def test_the_window_is_the_configured_or_known_one(self, model: str, own: int | None, told: Any) -> None:
        models = {"chat:mine": {"context": 8_192}, "chat:short": {"context": 40_000, "max_output": 500}}
        config = RunConfig(deck=DeckConfig.model_validate({"models": models}))
        order = replace(assignment(limits=AgentLimits(context=own)), config=config)
        assert window_of(order, model) == told

    def test_a_login_is_read_without_what_is_no_file(self, tmp_path: Path) -> None:
        (tmp_path / ".tool" / "deep").mkdir(parents=True)
        (tmp_path / ".tool" / "deep" / "token").write_text("t")
        (tmp_path / ".tool.json").write_text("{}")
        (tmp_path / ".tool" / "lost").symlink_to("nowhere")
        found = dict(login_files(tmp_path, Login(files=(".tool", ".tool.json", ".none"), hosts=())))
        assert found == {".tool/deep/token": b"t", ".tool.json": b"{}"}
        nothing = Login(files=(".none",), hosts=())
        assert list(login_files(tmp_path, nothing)) == []


class TestLogins:
    def test_the_login_is_copied_and_what_lies_beside_it_is_not(self, tmp_path: Path) -> None:
        (tmp_path / ".claude").mkdir()
        credentials = {"claudeAiOauth": {"refreshToken": "r"}, "mcpOAuth": {"tracker": {"accessToken": "secret"}}}
        (tmp_path / ".claude" / ".credentials.json").write_text(json.dumps(credentials))
        more = {"oauthAccount": {"a": 1}, "mcpServers": {"x": {"env": {"KEY": "secret"}}}, "primaryApiKey": "secret"}
        (tmp_path / ".claude.json").write_text(json.dumps({**more, "hasCompletedOnboarding": True}))
        login = PROFILES["claude"].login
        assert login is not None
        found = {name: json.loads(data) for name, data in login_files(tmp_path, login)}
        assert found == {
            ".claude/.credentials.json": {"claudeAiOauth": {"refreshToken": "r"}},
            ".claude.json": {"oauthAccount": {"a": 1}, "hasCompletedOnboarding": True},
        }
        (tmp_path / ".claude.json").write_text("[" * 100_000)
        assert dict(login_files(tmp_path, login))[".claude.json"] == b"{}"

    def test_a_login_that_copies_would_end_is_the_decks_own(self, tmp_path: Path) -> None:
        home, kept = tmp_path / "home", tmp_path / "logins"
        agent, codex, claude = Agent(name="a", login="own"), PROFILES["codex"], PROFILES["claude"]
        for place in (home / ".codex", home / ".claude", kept / "codex" / ".codex"):
            place.mkdir(parents=True)
        (home / ".codex" / "auth.json").write_text("{}")
        (home / ".claude" / ".credentials.json").write_text("{}")
        logins = Logins(home, kept)
        assert (logins.place(claude), logins.place(codex)) == (home, None)
        with pytest.raises(BadConfiguration, match="would log you out") as refused:
            logins.check(agent, codex)
        assert f"HOME={kept / 'codex'} codex login" in refused.value.fix
        logins.check(Agent(name="b"), codex)
        (kept / "codex" / ".codex" / "auth.json").write_text("{}")
        assert logins.place(codex) == kept / "codex"
        (kept / "claude" / ".claude").mkdir(parents=True)
        (kept / "claude" / ".claude" / ".credentials.json").write_text("{}")
        assert logins.place(claude) == kept / "claude", "the deck's own comes first"
        with pytest.raises(BadConfiguration, match="cannot use a login"):
            Logins(tmp_path / "nobody").check(agent, claude)

    @pytest.mark.parametrize(
        ("wrong", "is_it"),
        [
            ({}, True),
            ({"last_refresh": "2026-02-01T00:00:00.123456789Z"}, True),
            ({"id_token": LENT["tokens"]["id_token"]}, True),  # not every renewal brings another one
            ({"last_refresh": "2026-01-01T00:00:00Z"}, False),
            ({"last_refresh": "2025-01-01T00:00:00Z"}, False),
            ({"last_refresh": "2026-02-04T00:00:00Z"}, False),  # not yet
            ({"last_refresh": "9"}, False),
            ({"last_refresh": "2026-02-01T00:00:00"}, False),  # of which clock?
            ({"last_refresh": 1}, False),
            ({"account_id": "b"}, False),
            ({"id_token": token("b", "new")}, False),
            ({"id_token": "no token"}, False),
            ({"id_token": None}, False),
            ({"access_token": None}, False),
            ({"access_token": ""}, False),
            ({"access_token": LENT["tokens"]["access_token"]}, False),
            ({"access_token": token("b", "new access")}, False),
            ({"refresh_token": None}, False),
            ({"refresh_token": LENT["tokens"]["refresh_token"]}, False),
            ({"tokens": {"account_id": "a"}}, False),
            ({"tokens": None}, False),
        ],
    )
    def test_only_renewed_tokens_of_the_same_account_are_taken_back(self, wrong: dict[str, Any], is_it: bool) -> None:
        """What lies in the attempt's home may be the work of any program that ran there."""
        tokens = {**NEW["tokens"], **{key: value for key, value in wrong.items() if key in NEW["tokens"]}}
        beside = {key: value for key, value in wrong.items() if key not in tokens}
        after = {**NEW, "tokens": tokens, **beside}
        kept = renewed(json.dumps(LENT).encode(), json.dumps(after).encode(), MOMENT)
        assert (kept is not None) is is_it
        assert renewed(json.dumps(LENT).encode(), b"\xff{", MOMENT) is None
        assert renewed(json.dumps(LENT).encode(), b"[]", MOMENT) is None
        assert renewed(b"{}", json.dumps(after).encode(), MOMENT) is None

    def test_nothing_but_tokens_is_taken_of_what_an_attempt_leaves_behind(self) -> None:
        planted = {**NEW, "OPENAI_API_KEY": "planted", "auth_mode": "apikey", "tokens": {**NEW["tokens"], "more": "x"}}
        kept = renewed(json.dumps(LENT).encode(), json.dumps(planted).encode(), MOMENT)
        assert kept is not None
        assert json.loads(kept) == {**LENT, "tokens": NEW["tokens"], "last_refresh": NEW["last_refresh"]}

    def test_a_login_from_a_clock_that_was_ahead_can_still_be_renewed(self) -> None:
        ahead = {**LENT, "last_refresh": "2031-01-01T00:00:00Z"}
        assert renewed(json.dumps(ahead).encode(), json.dumps(NEW).encode(), MOMENT) is not None

    async def test_one_attempt_at_a_time_has_a_login_that_cannot_be_shared(self, tmp_path: Path) -> None:
        agent = Agent(name="a", login="own")
        order: list[str] = []
        one, other = Logins(None, tmp_path), Logins(None, tmp_path)  # two processes of one machine
        first_has_it = asyncio.Event()

        async def work(name: str, logins: Logins, until: asyncio.Event) -> None:
            async with logins.turn(agent, PROFILES["codex"]):
                order.append(f"{name} begins")
                first_has_it.set()
                await until.wait()
                order.append(f"{name} ends")

        may_end, at_once = asyncio.Event(), asyncio.Event()
        at_once.set()
        first = asyncio.create_task(work("1", one, may_end))
        await first_has_it.wait()
        others = [asyncio.create_task(work(name, logins, at_once)) for name, logins in (("2", one), ("3", other))]
        async with one.turn(agent, PROFILES["claude"]), one.turn(Agent(name="b"), PROFILES["codex"]):
            assert order == ["1 begins"], "who shares nothing waits for nobody"
        may_end.set()
        await asyncio.gather(first, *others)
        assert order[:2] == ["1 begins", "1 ends"]
        assert order[2][0] == order[3][0] and order[4][0] == order[5][0]


class TestDefinitions:
    def test_the_clis_that_are_known_need_no_file(self) -> None:
        agents = build_roster(shipped_agents(), {}, {}).agents
        for name in PROFILES:
            assert (agents[name].harness, agents[name].profile, agents[name].login) == (Harness.ACP, name, "gateway")

    @pytest.mark.parametrize(
        ("head", "reason"),
        [
            ("harness: acp", "needs `profile: NAME`"),
            ("profile: claud", "did you mean `claude`"),
            ("harness: native\nprofile: claude", "has no meaning"),
            ("command: [x]\nlogin: own", "has no meaning"),
            ("harness: acp\ncommand: [x]\nlogin: own", "needs a profile"),
            ("profile: claude\nlogin: mine", "login"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, head: str, reason: str) -> None:
        with pytest.raises(BadConfiguration, match=reason):
            parse_agent(f"---\nname: a\n{head}\n---\nPrompt.", "a.md")

    def test_only_the_operator_hands_out_a_login(self) -> None:
        agent = Agent(name="a", harness=Harness.ACP, profile="claude", login="own")
        check_logins({"a": agent}, {"a"}, Path("home"))
        with pytest.raises(BadConfiguration, match="a repository cannot hand out"):
            check_logins({"a": agent}, set(), Path("home"))


class TestLending:
    def config(self, default: str, **tiers: tuple[str, ...]) -> RunConfig:
        agents = build_roster(shipped_agents(), {}, {}).agents
        return RunConfig(deck=DeckConfig(tiers=tiers), agents=dict(agents), default_agent=default)

    def test_who_has_a_cli_and_no_model_has_a_planner_too(self) -> None:
        config = lent(self.config("claude"))
        planner = config.agents["planner"]
        assert (planner.harness, planner.profile, planner.expects) == (Harness.ACP, "claude", "plan")
        assert planner.delegates_to == () and "delegate" not in (planner.tools or ())
        assert planner.prompt == self.config("claude").agents["planner"].prompt
        assert any("planner" in line and "claude" in line for line in config.origin)
        assert lent(config) == config

    def test_who_has_a_model_keeps_it(self) -> None:
        before = self.config("claude", brain=("anthropic:o",))
        after = lent(before).agents
        assert all(after[name] == agent for name, agent in before.agents.items() if agent.tier == "brain")
        assert lent(self.config("implementer")) == self.config("implementer")
