"""An outside agent's request for permission that a person has to answer: it waits, and is told what was said."""

import asyncio
from pathlib import Path
from typing import Final, Literal

from acp_kit import ATTEMPT, SUBMIT, Stage, stage

from quarterdeck.journal.views import ApprovalView
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import Outcome

PUSH, WIPE = ("git push", {"command": "git push"}), ("rm -rf build", {"command": "rm -rf build"})
WORDS: Final[tuple[tuple[Literal["approve", "deny"], str], ...]] = (
    ("approve", ""),
    ("deny", "Not twice."),
    ("deny", "Keep it."),
)
SAID: Final[tuple[Literal["approve", "deny"], ...]] = ("deny", "approve", "approve")


async def asked(made: Stage, number: int) -> ApprovalView:
    """What waits, once so many things were asked."""
    found = 0
    async for record in made.journal.follow(ids.attempt_stream(ATTEMPT)):
        found += isinstance(record.event, e.ApprovalAsked)
        if found == number:
            break
    (view,) = await made.views.approvals()
    return view


async def test_it_waits_for_a_word_and_gets_the_option_that_says_it(tmp_path: Path) -> None:
    """The last one waits when the agent is told to stop: it is answered too, or the agent would wait for ever."""
    async with stage(tmp_path) as made:
        assignment = await made.assigned(
            {"permission": ["read", "Read a.txt", {"path": "a.txt"}]},
            {"permission": ["execute", *PUSH, ["reject_always", "allow_always"]]},
            {"permission": ["execute", *PUSH, ["reject_once", "allow_once"]]},
            {"permission": ["execute", *WIPE]},
            {"permission": ["execute", *WIPE]},
            {"run": "echo changed > a.txt"},
            SUBMIT,
            {"permission": ["execute", "make", {"command": "make"}]},
            {"keep": ".git/answers"},
            {"stop": "cancelled"},
            waits=["run"],
        )
        working = asyncio.create_task(made.harness.work(assignment))
        for number, (verdict, reason) in enumerate(WORDS, 1):
            view = await asked(made, number)
            assert (view.what, view.agent, view.attempt, view.risk) == ("tool", "outside", ATTEMPT, "high")
            name = view.action_hash
            await made.approvals.decide(view.approval, verdict, action_hash=name, reason=reason, by="ada")
        finished = await working
        assert finished.outcome is Outcome.OK, finished.reason
        kept = [answer for answer in await made.answers(".git/answers") if isinstance(answer, dict)]
        decided = [event for event in await made.events() if isinstance(event, e.PermissionDecided)]
        assert await made.views.approvals() == []
    answers = [answer.get("optionId", answer["outcome"]) for answer in kept]
    assert answers == ["o-allow_once", "o-allow_always", "o-reject_once", "o-reject_once", "o-reject_once", "cancelled"]
    assert [each.approver for each in decided] == [None, "ada", "ada", "ada", "ada", None]
    assert [each.late for each in decided] == [False] * 5 + [True]
    assert decided[3].approval == decided[4].approval, "what was denied is not asked about again"
    assert decided[1].approval != decided[2].approval, "what was approved is approved once"


async def test_a_word_is_about_one_content_and_the_person_sees_it(tmp_path: Path) -> None:
    """Gemini CLI shows what it will write beside its request, and a path in it."""

    def writing(text: str) -> dict[str, object]:
        diff = {"type": "diff", "path": "/workspace/a.txt", "oldText": "one\n", "newText": text}
        return {"leave": {"toolCallId": "w", "kind": "edit", "title": "a.txt: 1 edit", "content": [diff]}}

    async with stage(tmp_path) as made:
        assignment = await made.assigned(
            writing("good\n"),
            writing("evil\n"),
            {"announce": {"toolCallId": "x", "title": "Run", "kind": "execute", "rawInput": {"command": "make"}}},
            {"keep": ".git/answers"},
            {"run": "echo changed > a.txt"},
            SUBMIT,
            waits=["edit", "run"],
        )
        working = asyncio.create_task(made.harness.work(assignment))
        shown = []
        for number, verdict in enumerate(SAID, 1):
            view = await asked(made, number)
            shown.append((await made.journal.get(view.subject_blob)).decode())
            await made.approvals.decide(view.approval, verdict, action_hash=view.action_hash, reason="no", by="ada")
        assert (await working).outcome is Outcome.OK
        kept = [answer for answer in await made.answers(".git/answers") if isinstance(answer, dict)]
    assert [answer["optionId"] for answer in kept] == ["o-reject_once", "o-allow_once", "o-allow_once"]
    assert "+good" in shown[0] and "+evil" in shown[1] and "make" in shown[2]
