"""What a person types while a run waits: answers, comments, more money, decisions; his mistakes; and what is on record
of it in the end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from cli_kit import Said, assert_refused, call
from deck_kit import Place, place_at, task
from test_goal import HAND_IN, rule, scripted, writes

from quarterdeck.kernel.failures import Exit
from quarterdeck.models.scripted.scenario import Turn, act


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


def asks(question: str) -> Turn:
    return Turn(actions=(act("ask", question=question),))


def lines(said: Said) -> list[dict[str, Any]]:
    assert said.code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]


def test_everything_that_a_waiting_run_can_be_told(place: Place) -> None:
    """Two agents ask, and each one's next prompt holds its own answer with what it asked; then their changes wait."""
    rules = (
        rule(r"(?s)Task: a\n.*Say please", writes("a", "blue, please"), HAND_IN),
        rule(r"(?s)Task: a\n.*A person answered.*blue.*Which colour\?", writes("a", "blue"), HAND_IN),
        rule(r"(?s)Task: b\n.*A person answered.*tall.*Which size\?.*b\.txt:3: No tabs", writes("b", "tall"), HAND_IN),
        rule("Task: a\n", asks("Which colour?")),
        rule("Task: b\n", asks("Which size?")),
    )

    def typed(*arguments: str) -> Said:
        given = {"ANTHROPIC_BASE_URL": str(place.url), "ANTHROPIC_API_KEY": "k"}
        return call(place, *arguments, cwd=place.repository, **given)

    script = scripted(place, *rules, deck='[approve]\nmerge = "always"\n')
    # The commands heed signals, so that this thread is theirs; the model has another.
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(script):
        plan = str(place.plan(*(task(name, "do it", agent="implementer") for name in "ab")))
        assert typed("run", "--plan", plan, "--sandbox", "none").code == Exit.WAITING
        waits = {each["question"]: each for each in lines(typed("inbox", "--json"))}
        run = waits["Which colour?"]["run"]
        answer = {question: each["answer"] for question, each in waits.items()}
        assert answer == {
            "Which colour?": f"quarterdeck answer {run}.a.1 TEXT",
            "Which size?": f"quarterdeck answer {run}.b.1 TEXT",
        }
        for code, words, *given in (
            (Exit.NOT_FOUND, "no run, task or attempt", "answer", "r-nothing", "blue"),
            (Exit.NOT_FOUND, "no run, task or attempt", "answer", f"{run}.a.7", "blue"),
            (Exit.STALE, "2 questions are open", "answer", run, "blue"),
            (Exit.USAGE, "the answer is empty", "answer", f"{run}.a.1", " "),
            (Exit.NOT_FOUND, "no run, task or attempt", "retry", f"{run}.z"),
            (Exit.USAGE, "one of its tasks is tried again", "retry", run),
            (Exit.NOT_FOUND, "there is no agent", "retry", f"{run}.a", "--agent", "nobody"),
            (Exit.NOT_FOUND, "no run", "budget", "r-nothing", "9"),
            (Exit.STALE, "can only be raised", "budget", run, "0.01"),
            (Exit.NOT_FOUND, "no run, task or attempt", "comment", f"{run}.z.1", "No tabs."),
            (Exit.USAGE, "there is no line 0", "comment", f"{run}.b.1", "No tabs.", "--at", "b.txt:0"),
            (Exit.NOT_FOUND, "there is no approval", "approve", "a-nothing"),
            (Exit.NOT_FOUND, "there is no approval", "inbox", "a-nothing"),
        ):
            assert_refused(typed(*given), code, words)
        (said,) = lines(typed("answer", f"{run}.a.1", "blue", "--json"))
        assert (said["kind"], said["attempt"], said["attended"]) == ("question.answered", f"{run}.a.1", False)
        assert f"quarterdeck resume {run}" in typed("answer", f"{run}.b", "tall").err
        assert_refused(typed("answer", run, "again"), Exit.STALE, "nothing is asked")
        assert typed("comment", f"{run}.b", "No tabs", "--at", "b.txt:3").code == 0
        assert typed("budget", run, "20").code == 0
        assert lines(typed("inbox", "--json")) == []
        assert typed("resume", run).code == Exit.WAITING

        first = {each["task"]: each for each in lines(typed("inbox", "--json"))}
        assert {each["what"] for each in first.values()} == {"merge"}
        a, b = (first[name]["approval"] for name in "ab")
        assert_refused(typed("deny", a), Exit.USAGE, "there is no reason")
        assert_refused(typed("approve", "a-"), Exit.STALE, "could be 2 approvals")
        assert typed("deny", a, "--reason", "Say please.").code == 0
        assert typed("approve", b[:-1], "--hash", first["b"]["action_hash"][:16]).code == 0
        assert_refused(typed("approve", a), Exit.STALE, "denied already")
        assert typed("resume", run).code == Exit.WAITING
        (again,) = lines(typed("inbox", "--json"))
        assert (again["task"], again["approval"] == a) == ("a", False)
        assert typed("approve", again["approval"]).code == 0
        assert typed("resume", run).code == Exit.DONE
        assert_refused(typed("answer", run, "Yes."), Exit.STALE, "has ended")
        assert_refused(typed("retry", f"{run}.a"), Exit.STALE, "is merged")
        assert_refused(typed("budget", run, "30"), Exit.STALE, "has ended")
        assert_refused(typed("comment", f"{run}.a", "Late."), Exit.STALE, "has landed")
        assert typed("export", run, "--to", str(place.root / "out")).code == 0
    decided = [json.loads(path.read_text())["event"] for path in (place.root / "out" / "approval").iterdir()]
    assert {each["approval"]: (each["verdict"], each["reason"]) for each in decided} == {
        a: ("deny", "Say please."),
        b: ("approve", ""),
        again["approval"]: ("approve", ""),
    }
