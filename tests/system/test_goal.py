"""A goal without a plan, carried by native agents on a scripted model to merged commits, through both wire formats."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import store_kit
from deck_kit import Place, carried, events, one, place_at, run_events, task

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.delivery.order import Order, RunResult
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import Exit
from quarterdeck.models.scripted.scenario import Match, Rule, Scenario, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.removal import remove_tree

pytestmark = pytest.mark.sandbox

PRICE = Price(input=3.0, output=15.0)
HOME = """\
[tiers]
brain = ["{provider}:scripted"]
hands = ["{provider}:scripted"]
[prices]
"{provider}:scripted" = {{ input = 3, output = 15 }}
[models."{provider}:scripted"]
context = 100000
max_output = {output}
"""
PROVIDERS = ("anthropic", "openai", "chat")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


def planned(*tasks: dict[str, Any]) -> Turn:
    plain = {"instructions": "do it", "needs": []}
    made = [
        {**plain, "title": t["id"], "paths": [f"{t['id']}.txt"], "verify": [f"test -s {t['id']}.txt"], **t}
        for t in tasks
    ]
    return Turn(actions=(act("submit", tasks=made, design="plain text"),))


def rule(first: str, *turns: Turn) -> Rule:
    return Rule(match=Match(first=first), turns=turns)


def writes(name: str, text: str) -> Turn:
    return Turn(actions=(act("write", path=f"{name}.txt", content=text),))


HAND_IN = Turn(actions=(act("submit", summary="done", limitations=["only text"]),))
ACCEPT = Turn(actions=(act("submit", verdict="accept", summary="fine", findings=[]),))
CHANGE = Turn(
    actions=(
        act(
            "submit", verdict="change", summary="say please", findings=[{"path": "b.txt", "line": 1, "problem": "rude"}]
        ),
    )
)


@asynccontextmanager
async def scripted(
    place: Place, *rules: Rule, provider: str = "anthropic", output: int = 4096, deck: str = ""
) -> AsyncIterator[ScriptedServer]:
    """The place with a deck whose only model follows these rules."""
    async with ScriptedServer(Scenario(rules=rules, prices={"scripted": PRICE})) as server:
        place.url, place.keys = server.url, {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}
        place.operator(HOME.format(provider=provider, output=output))
        place.begin(deck=deck)
        yield server


async def carry(deck: Deck, place: Place, **fields: Any) -> RunResult:
    run = await deck.create(Order(goal="Make it so", repository=place.repository, user="ada", **fields))
    await deck.work(run)
    return await deck.result(run)


@pytest.mark.parametrize("provider", store_kit.first_on_both("what differs is how the model is spoken to", PROVIDERS))
async def test_a_goal_becomes_merged_commits(place: Place, provider: str) -> None:
    rules = (
        rule(
            r"(?s)Role: planner.*## What the gate runs.*\n- check\.sh",
            planned({"id": "a"}, {"id": "b", "needs": ["a"]}),
        ),
        rule("Task: a\nRole: reviewer", ACCEPT),
        rule(r"(?s)Task: b\nRole: reviewer.*\+please", ACCEPT),
        rule("Task: b\nRole: reviewer", CHANGE),
        rule("Task: a\nRole: implementer", writes("a", "a"), HAND_IN),
        rule(r"(?s)Task: b\nRole: implementer.*\(review\)", writes("b", "please"), HAND_IN),
        rule("Task: b\nRole: implementer", writes("b", "do!"), HAND_IN),
    )
    async with (
        scripted(place, *rules, provider=provider, deck='[review]\nagent = "reviewer"\n') as server,
        open_deck(place.settings) as deck,
    ):
        result = await carry(deck, place)
        assert (result.status, result.reason) == (RunStatus.DONE, "")
        assert place.tree(result) == {"a.txt": "a", "b.txt": "please"}
        assert [one(result, name).attempts for name in "ab"] == [1, 2]
        assert result.limitations == ("a: only text", "b: only text")
        assert result.cost_usd == pytest.approx(server.total.nusd / 1e9)
        assert result.cost_usd > 0
        view = await deck.views.attempts(result.run)
        assert {one.status for one in view} == {"finished", "merged", "change"}
        assert "v: 1" in await deck.plan_text(result.run)


async def test_the_next_attempt_finds_the_earlier_work(place: Place) -> None:
    rules = (
        rule("Role: planner", planned({"id": "a", "paths": ["*.txt"], "verify": ["grep good a.txt"]})),
        rule(
            r"(?s)Role: implementer.*\(verify\)",
            Turn(actions=(act("edit", path="a.txt", old="bad", new="good"),)),
            HAND_IN,
        ),
        rule("Role: implementer", writes("kept", "long work"), writes("a", "bad"), HAND_IN),
    )
    async with scripted(place, *rules), open_deck(place.settings) as deck:
        result = await carry(deck, place)
        assert result.status is RunStatus.DONE, result.reason
        assert place.tree(result) == {"a.txt": "good", "kept.txt": "long work"}
        assert one(result, "a").attempts == 2


async def test_a_question_waits_and_its_answer_goes_on(place: Place) -> None:
    asks = Turn(actions=(act("ask", question="Which colour?"),))
    rules = (
        rule("Role: planner", planned({"id": "a", "paths": ["*.txt"]})),
        rule(r"(?s)Role: implementer.*A person answered.*blue.*Which colour\?", writes("a", "blue"), HAND_IN),
        rule("Role: implementer", writes("begun", "x"), asks),
    )
    async with (
        scripted(place, *rules),
        open_deck(place.settings) as deck,
    ):
        result = await carry(deck, place)
        assert (result.status, result.exit_code) == (RunStatus.WAITING, Exit.WAITING)
        (wait,) = await deck.views.waits(result.run)
        assert wait.question == "Which colour?"
        # Going on without an answer leaves the question open.
        await deck.control(result.run, "resume")
        await deck.work(result.run)
        assert (await deck.result(result.run)).status is RunStatus.WAITING
        assert [wait.question for wait in await deck.views.waits(result.run)] == ["Which colour?"]
        await deck.control(result.run, "resume", answer="blue")
        await deck.work(result.run)
        result = await deck.result(result.run)
        assert result.status is RunStatus.DONE, result.reason
        assert place.tree(result) == {"a.txt": "blue", "begun.txt": "x"}
        assert one(result, "a").attempts == 2


async def test_a_planner_asks_too(place: Place) -> None:
    rules = (
        rule(r"(?s)Role: planner.*A person answered.*yes", planned({"id": "a"})),
        rule("Role: planner", Turn(actions=(act("ask", question="Really?"),))),
        rule("Role: implementer", writes("a", "a"), HAND_IN),
    )
    async with scripted(place, *rules), open_deck(place.settings) as deck:
        result = await carry(deck, place)
        assert result.exit_code == Exit.WAITING
        await deck.control(result.run, "resume", answer="yes")
        await deck.work(result.run)
        assert (await deck.result(result.run)).status is RunStatus.DONE


async def test_an_ended_budget_keeps_what_is_done(place: Place) -> None:
    rules = (
        rule("Role: planner", planned({"id": "a"}, {"id": "b"}, {"id": "c", "needs": ["a", "b"]})),
        rule("Task: a\n", writes("a", "a"), HAND_IN),
        rule("Task: b\n", writes("b", "b"), *[writes("b", f"b{n} " * 2000) for n in range(6)], HAND_IN),
        rule("Task: c\n", writes("c", "c"), HAND_IN),
    )
    async with scripted(place, *rules, output=2048) as server, open_deck(place.settings) as deck:
        result = await carry(deck, place, budget_usd=0.12, max_parallel=1)
        assert (result.status, result.exit_code) == (RunStatus.PARTIAL, Exit.BUDGET), result
        assert result.cost_usd <= 0.12
        assert one(result, "a").status is TaskStatus.MERGED
        assert one(result, "c").status is TaskStatus.BLOCKED
        assert "the budget is exhausted" in result.reason
        before = [x for x in await run_events(deck, result.run) if isinstance(x, e.TaskDispatched)]
        await deck.control(result.run, "resume", budget_usd=5.0)
        await deck.work(result.run)
        result = await deck.result(result.run)
        assert result.status is RunStatus.DONE, result.reason
        after = [x for x in await run_events(deck, result.run) if isinstance(x, e.TaskDispatched)][len(before) :]
        assert sorted(x.task for x in after) == ["b", "c"]
        assert result.cost_usd == pytest.approx(server.total.nusd / 1e9)


async def test_money_that_ends_before_the_review_costs_no_second_attempt(place: Place) -> None:
    rules = (rule("Role: reviewer", ACCEPT),)
    long = task("a", "seq 8000 > a.txt")
    async with (
        scripted(place, *rules, output=1024, deck='[review]\nagent = "reviewer"\n'),
        carried(place, long, budget_usd=0.03) as (deck, result),
    ):
        assert result.exit_code == Exit.BUDGET, result
        await deck.control(result.run, "resume", budget_usd=5.0)
        await deck.work(result.run)
        result = await deck.result(result.run)
        assert (result.status, one(result, "a").attempts) == (RunStatus.DONE, 1), result
        assert len(await deck.journal.streams(f"attempt/{result.run}.a.1.review")) == 2


async def test_a_planner_that_fails_is_told_why(place: Place) -> None:
    bad = Turn(actions=(act("submit", tasks=[{"id": "a", "title": "A", "paths": ["../x"]}]),))
    rules = (
        rule(r"(?s)Role: planner\nAttempt: 2", planned({"id": "a"})),
        rule("Role: planner", bad, bad, bad),
        rule("Role: implementer", writes("a", "a"), HAND_IN),
    )
    async with scripted(place, *rules), open_deck(place.settings) as deck:
        result = await carry(deck, place)
        assert result.status is RunStatus.DONE, result.reason
        tries = await deck.journal.streams(f"attempt/{result.run}.{ids.PLANNER_TASK}")
        assert len(tries) == 2


async def test_a_plan_is_printed_and_can_be_run(place: Place) -> None:
    rules = (
        rule("Role: planner", planned({"id": "a"}, {"id": "b", "needs": ["a"], "instructions": "- x\n: y\n"})),
        rule("Task: a\n", writes("a", "a"), HAND_IN),
        rule("Task: b\n", writes("b", "b"), HAND_IN),
    )
    async with scripted(place, *rules):
        code, out, err = await asyncio.to_thread(place.call, "plan", "Make it so")
        assert code == 0, err
        (place.root / "made.yaml").write_text(out)
        command = ("run", "--plan", str(place.root / "made.yaml"), "--json")
        code, out, err = await asyncio.to_thread(place.call, *command)
        assert code == 0, err
        result = RunResult.model_validate_json(out.splitlines()[-1])
        assert place.tree(result) == {"a.txt": "a", "b.txt": "b"}
        code, out, err = await asyncio.to_thread(place.call, "cost", result.run, "--json")
        assert code == 0, err
        assert out


async def test_a_missing_key_or_price_is_refused(place: Place) -> None:
    async with scripted(place):
        place.keys = {}
        code, _, err = await asyncio.to_thread(place.call, "run", "Make it so")
        assert (code, "ANTHROPIC_API_KEY" in err) == (Exit.USAGE, True), err
        place.keys = {"ANTHROPIC_API_KEY": "k"}
        deck = place.home / "deck.toml"
        deck.write_text(deck.read_text().replace("[prices]", "[prices]\n#").replace('\n"anthropic', '\n#"anthropic'))
        code, _, err = await asyncio.to_thread(place.call, "run", "Make it so")
        assert (code, "the price of anthropic:scripted is not known" in err) == (Exit.USAGE, True), err
        deck.write_text('[tiers]\nbrain = ["scripted"]\nhands = ["scripted"]\n')
        code, _, err = await asyncio.to_thread(place.call, "run", "Make it so")
        assert (code, "there is no model 'scripted'" in err) == (Exit.USAGE, True), "no price would mend it"
        assert (await asyncio.to_thread(place.call, "ps", "--json"))[:2] == (0, "")


@pytest.mark.embedded("on PostgreSQL what a workspace held is in the store, and the attempt goes on from there")
async def test_a_native_attempt_whose_workspace_is_lost_starts_again(place: Place) -> None:
    rules = (
        rule("Role: planner", planned({"id": "a"})),
        rule("Role: implementer", writes("a", "a"), Turn(actions=(act("run", command="test -s a.txt"),)), HAND_IN),
    )
    async with scripted(place, *rules):
        command = ("run", "Make it so", "--json")
        # The planner's one tool call is the first, the write the second.
        code, out, err = await asyncio.to_thread(place.call, *command, QUARTERDECK_PROBE="tool.effected:2:kill")
        assert code < 0, err
        run = json.loads(out.splitlines()[0])["run"]
        for workspace in Ground(place.home).workspaces.iterdir():
            remove_tree(workspace)
        code, out, err = await asyncio.to_thread(place.call, "resume", run, "--json")
        assert code == 0, err
        result = RunResult.model_validate_json(out.splitlines()[-1])
        assert (place.tree(result), one(result, "a").attempts) == ({"a.txt": "a"}, 1)
        async with open_deck(place.settings) as deck:
            (attempt,) = [view for view in await deck.views.attempts(run) if view.task == "a"]
            assert attempt.incarnation == 2


async def test_a_failing_task_gets_a_higher_tier_and_its_reviewer_another_vendor(place: Place) -> None:
    rules = (
        rule("Role: reviewer", ACCEPT),
        rule(r"(?s)Role: implementer.*\(verify\)", writes("a", "good"), HAND_IN),
        rule("Role: implementer", writes("a", "bad"), HAND_IN),
    )
    async with scripted(place, *rules, deck='[review]\nagent = "reviewer"\n'):
        tiers = '[tiers]\nhands = ["anthropic:scripted"]\nbrain = ["openai:scripted", "anthropic:scripted"]\n'
        prices = "".join(f'"{name}:scripted" = {{ input = 3, output = 15 }}\n' for name in ("anthropic", "openai"))
        models = "".join(f'[models."{name}:scripted"]\ncontext = 100000\n' for name in ("anthropic", "openai"))
        (place.home / "deck.toml").write_text(f"{tiers}[prices]\n{prices}{models}")
        failing = {"id": "a", "title": "a", "instructions": "do it", "paths": ["a.txt"], "verify": ["grep good a.txt"]}
        async with carried(place, {**failing, "agent": "implementer"}) as (deck, result):
            assert (result.status, result.reason) == (RunStatus.DONE, "")
            asked: dict[str, set[str]] = {}
            starts: dict[str, e.AttemptStarted] = {}
            for view in await deck.views.attempts(result.run):
                for event in await events(deck, ids.attempt_stream(view.attempt)):
                    if isinstance(event, e.ModelAsked):
                        asked.setdefault(view.attempt.partition(".")[2], set()).add(event.model)
                    elif isinstance(event, e.AttemptStarted):
                        starts[view.attempt.partition(".")[2]] = event
    assert asked == {"a.1": {"anthropic:scripted"}, "a.2": {"openai:scripted"}, "a.2.review1": {"anthropic:scripted"}}
    assert [(starts[name].tier, bool(starts[name].routed)) for name in sorted(starts)] == [
        ("hands", False),
        ("brain", True),
        ("brain", True),
    ]
