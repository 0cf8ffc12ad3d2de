"""A repository's tool servers from the declaration to a merged commit: refused, approved, used, and no secret left."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import store_kit
from cli_kit import Said, assert_refused, call
from deck_kit import Place, events, place_at
from shed_kit import PROGRAM

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.events import RunStatus
from quarterdeck.kernel.failures import Exit
from quarterdeck.models.scripted.scenario import Match, Rule, Scenario, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.settings import read_approvals

pytestmark = pytest.mark.sandbox

TOKEN, KEY = "planted-tracker-token", "planted-provider-key"
TRACKER = {"command": "python3", "args": ["-c", PROGRAM, "older"], "env": {"TRACKER_TOKEN": "${TRACKER_TOKEN}"}}
AGENT = """---
name: triager
tools: [read, write, "mcp:tracker/secret", "mcp:tracker/die", "mcp:tracker/echo", "mcp:other?"]
---
You triage.
"""
HOME = """[tiers]
hands = ["anthropic:scripted"]
[models."anthropic:scripted"]
context = 100000
[prices]
"anthropic:scripted" = { input = 3, output = 15 }
"""
TASK = {
    "id": "a",
    "title": "Triage",
    "instructions": "do it",
    "paths": ["a.txt"],
    "agent": "triager",
    "verify": ["test -s a.txt"],
}


def declared(**servers: object) -> str:
    return json.dumps({"mcpServers": servers})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        made.begin({".mcp.json": declared(tracker=TRACKER), ".quarterdeck/agents/triager.md": AGENT})
        made.home.mkdir(exist_ok=True)
        (made.home / "deck.toml").write_text(HOME)
        yield made


def test_a_server_has_to_be_approved_as_it_is_declared(place: Place) -> None:
    plan = str(place.plan(TASK))

    def say(*arguments: str, **environment: str) -> Said:
        return call(place, *arguments, cwd=place.repository, **environment)

    refused = say("run", "--plan", plan, ANTHROPIC_API_KEY=KEY)
    assert_refused(refused, Exit.USAGE, "triager", "`tracker` is not approved", "quarterdeck tools approve tracker")
    assert_refused(
        say("tools", "approve", "tracker"),
        Exit.USAGE,
        "asks for TRACKER_TOKEN",
        "quarterdeck tools approve tracker --env TRACKER_TOKEN",
    )
    assert_refused(say("tools", "approve", "nothing"), Exit.NOT_FOUND, "declared: tracker")
    unapproved = say("tools", "check", "tracker")
    assert (unapproved.code, "quarterdeck tools approve tracker" in unapproved.err) == (Exit.FAILED, True)
    assert not (place.home / "tools").exists()

    assert say("tools", "approve", "tracker", "--env", "TRACKER_TOKEN").code == 0
    assert [(each.name, each.env) for each in read_approvals(place.home)] == [("tracker", ("TRACKER_TOKEN",))]
    without = say("tools", "check", "tracker")
    assert (without.code, "needs TRACKER_TOKEN" in without.err) == (Exit.FAILED, True)
    checked = say("tools", "check", TRACKER_TOKEN=TOKEN)
    assert (checked.code, "starts tracker; it has" in checked.err) == (0, True), checked.err
    shown = say("tools", "--json")
    view = json.loads(shown.out)
    assert (view["kind"], view["name"], view["approved"]) == ("tool_server", "tracker", True)
    assert (view["known"]["state"], "echo" in view["known"]["tools"]) == ("ended", True)
    assert TOKEN not in checked.out + checked.err + shown.out

    place.commit({".mcp.json": declared(tracker={**TRACKER, "args": ["-c", PROGRAM, "older", "greets"]})})
    again = say("run", "--plan", plan, ANTHROPIC_API_KEY=KEY, TRACKER_TOKEN=TOKEN)
    assert_refused(again, Exit.USAGE, "`tracker` is not approved")
    assert say("tools", "revoke", "tracker").code == 0
    assert_refused(say("tools", "revoke", "tracker"), Exit.NOT_FOUND)


def test_what_is_declared_and_not_used_is_said(place: Place) -> None:
    odd = {"old": {"type": "sse", "url": "http://localhost:1/sse"}, "two words": {"command": "x"}}
    place.commit({".mcp.json": declared(tracker=TRACKER, **odd)})
    told = call(place, "tools", cwd=place.repository)
    for line in ("mcp.servers.old: not used, its type sse is not supported", "mcp.servers.two words: not used"):
        assert line in " ".join(told.err.split()), told
    assert "tracker" in told.out and "tracker" not in told.err
    place.commit({".mcp.json": "{"})
    assert ".mcp.json: not used, it is not valid JSON" in call(place, "tools", cwd=place.repository).err
    (place.repository / ".mcp.json").write_text(declared(tracker=TRACKER))
    for arguments in ((), ("approve", "tracker"), ("check", "tracker")):
        told = call(place, "tools", *arguments, cwd=place.repository)
        note = "note: .mcp.json is not committed as it is, and not used: git add .mcp.json && git commit"
        assert note in " ".join(told.err.split()), told


@asynccontextmanager
async def working(place: Place, *turns: Turn) -> AsyncIterator[Deck]:
    """A deck whose model does this, and whose operator has the token."""
    price = Price(input=3.0, output=15.0)
    script = Scenario(rules=(Rule(match=Match(first="Role: triager"), turns=turns),), prices={"scripted": price})
    async with ScriptedServer(script) as server:
        place.url, place.keys = server.url, {"ANTHROPIC_API_KEY": KEY}
        async with open_deck(replace(place.settings, tool_environment={"TRACKER_TOKEN": TOKEN})) as deck:
            yield deck


async def test_an_agent_works_with_a_server_and_no_secret_stays(place: Place) -> None:
    turns = (
        Turn(actions=(act("tool", name="tracker__secret", args={}),)),
        Turn(actions=(act("tool", name="tracker__die", args={}),)),
        Turn(actions=(act("tool", name="tracker__echo", args={"text": "back again"}),)),
        Turn(actions=(act("write", path="a.txt", content="triaged\n"),)),
        Turn(actions=(act("submit", summary="done"),)),
    )
    async with working(place, *turns) as deck:
        await deck.approve_tools(place.repository, "tracker", ["TRACKER_TOKEN"])
        run = await deck.create(place.order(TASK))
        assert any("goes without mcp:other?" in line for line in (await deck.frozen(run)).origin)
        await deck.work(run)
        result = await deck.result(run)
        assert result.status is RunStatus.DONE, result.reason
        assert place.tree(result) == {"a.txt": "triaged"}
        exported = await deck.export(run, place.root / "export")
    said = "\n".join(path.read_text(errors="replace") for path in exported)
    assert "[TRACKER_TOKEN]" in said
    assert "may have taken effect or not" in said
    assert "back again" in said
    _nowhere(place.root, TOKEN)
    _nowhere(place.root, KEY)


async def test_each_use_of_an_outside_tool_waits_where_the_operator_says_so(place: Place) -> None:
    turns = (
        Turn(actions=(act("tool", name="tracker__echo", args={"text": "never said"}),)),
        Turn(actions=(act("write", path="a.txt", content="triaged\n"),)),
        Turn(actions=(act("submit", summary="done"),)),
    )
    (place.home / "deck.toml").write_text(f'[approve]\ntools = ["mcp:*"]\n{HOME}')
    async with working(place, *turns) as deck:
        await deck.approve_tools(place.repository, "tracker", ["TRACKER_TOKEN"])
        run = await deck.create(place.order(TASK))
        work = asyncio.create_task(deck.work(run))
        stream = f"attempt/{run}.a.1"
        async for record in deck.journal.follow(stream):
            if isinstance(record.event, e.ApprovalAsked | e.ToolDone):
                assert isinstance(record.event, e.ApprovalAsked), "it was used and nobody was asked"
                break
        (view,) = await deck.approvals()
        assert "never said" in await deck.subject(view.approval)
        await deck.decide(view.approval, "deny", action_hash=view.action_hash, reason="not today", by="ada")
        await work
        assert (await deck.result(run)).status is RunStatus.DONE
        done = [event for event in await events(deck, stream) if isinstance(event, e.ToolDone)]
        assert [(each.tool, each.flags) for each in done[:1]] == [("tracker__echo", ("denied",))]
        assert len(await deck.approvals(open=False)) == 1, "its own files are nobody's tool"


ONCE = 'test -e "$HOME/.started" && exit 1; touch "$HOME/.started"; exec python3 -c "$0" older'


async def test_while_a_server_is_down_its_declared_fallback_is_called(place: Place) -> None:
    mortal = {"command": "sh", "args": ["-c", ONCE, PROGRAM]}
    once = {"workspace": True, "fallback": {"echo": "mirror/echo", "secret": "other/secret"}}
    mirror = {"command": "python3", "args": ["-c", PROGRAM, "older"]}
    agent = AGENT.replace('"mcp:other?"', '"mcp:mirror/echo"')
    place.commit(
        {
            ".mcp.json": declared(tracker={**mortal, "quarterdeck": once}, mirror=mirror),
            ".quarterdeck/agents/triager.md": agent,
        }
    )
    turns = (
        Turn(actions=(act("tool", name="tracker__die", args={}),)),
        Turn(actions=(act("tool", name="tracker__echo", args={"text": "said elsewhere"}),)),
        Turn(actions=(act("tool", name="tracker__secret", args={}),)),
        Turn(actions=(act("write", path="a.txt", content="triaged\n"),)),
        Turn(actions=(act("submit", summary="done"),)),
    )
    async with working(place, *turns) as deck:
        for name in ("tracker", "mirror"):
            await deck.approve_tools(place.repository, name, [])
        run = await deck.create(place.order(TASK))
        await deck.work(run)
        result = await deck.result(run)
        assert result.status is RunStatus.DONE, result.reason
        record = await events(deck, f"attempt/{run}.a.1")
        (fell,) = [event for event in record if isinstance(event, e.ToolFellBack)]
        assert (fell.tool, fell.to) == ("tracker__echo", "mirror__echo")
        done = [(event.tool, event.ok, event.flags) for event in record if isinstance(event, e.ToolDone)]
        assert done[1] == ("mirror__echo", True, ("fallback",))
        assert done[2] == ("tracker__secret", False, ("server-down",)), "nobody gave it the other one"
        exported = await deck.export(run, place.root / "export")
    said = "\n".join(path.read_text(errors="replace") for path in exported)
    assert "[`tracker__echo` failed, `mirror__echo` was used instead]" in said
    assert "said elsewhere" in said


def _nowhere(root: Path, secret: str) -> None:
    """No file holds it, and no row of the database after it was unpacked."""
    for path in root.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    assert secret not in store_kit.words(root / "home" / "deck.db")
