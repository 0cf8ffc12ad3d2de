"""The commands `inbox`, `approve` and `deny`: what waits for a human, and a human's word about it.

Rules
- Looking needs no lock and changes nothing; each item comes with the command that answers it.
- A target that is red comes first, then what would be hardest to take back: approvals by their risk, then questions; of
  each the longest wait first.
- A word is about exactly what was shown: it is bound to the hash of that.
"""

import time
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from quarterdeck.cli.amounts import duration, usd
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.port import DeckApi
from quarterdeck.cli.text import Tone, clean
from quarterdeck.journal.views import ApprovalView, RedView, WaitView
from quarterdeck.kernel.entities import to_usd
from quarterdeck.kernel.failures import Conflicting, NotFound

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_RISK = ("high", "medium", "low")
_RED_SECONDS = 3 * 86_400
"""How long after the end of its run a red target is shown."""

Approval = Annotated[str, typer.Argument(help="Id of the approval, or its beginning.", metavar="ID")]
Hash = Annotated[
    str | None,
    typer.Option(
        "--hash", help="Only if this is what is asked: its hash, or the beginning.", metavar="HASH", show_default=False
    ),
]


@app.command()
def inbox(
    context: typer.Context,
    id: Annotated[
        str | None, typer.Argument(help="Show this one whole, with what is asked.", metavar="[ID]", show_default=False)
    ] = None,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """List what waits for a human; with an approval's ID, show exactly what is asked."""
    call = begin(context, json, no_input)
    drive(_inbox(call) if id is None else _one(call, id))


@app.command()
def approve(
    context: typer.Context,
    id: Approval,
    hash: Hash = None,
    reason: Annotated[str, typer.Option(help="Why; it goes on record.", metavar="TEXT", show_default=False)] = "",
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Allow a plan, a change or an action that waits for it."""
    drive(_decide(begin(context, json, no_input), id, "approve", hash, reason))


@app.command()
def deny(
    context: typer.Context,
    id: Approval,
    reason: Annotated[str, typer.Option(help="Why; whoever asked is told.", metavar="TEXT", show_default=False)] = "",
    hash: Hash = None,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Refuse a plan, a change or an action; whoever asked is told why."""
    drive(_decide(begin(context, json, no_input), id, "deny", hash, reason))


async def _inbox(call: Call) -> None:
    async with call.deck() as deck:
        waits, approvals = await deck.views.waits(), await deck.approvals()
        reds = await deck.views.reds(time.time() - _RED_SECONDS)
    for red in reds:
        _show_red(call, red)
    for approval in ranked(approvals):
        _show(call, approval)
    for wait in waits:
        _show_question(call, wait)
    if not waits and not approvals and not reds and not call.json:
        call.say("nothing waits for you")


async def _one(call: Call, id: str) -> None:
    async with call.deck() as deck:
        view = await _found(deck, id)
        call.run = view.run
        subject = await deck.subject(view.approval)
    _show(call, view, subject)
    call.data("")
    for line in clean(subject, lines=True).splitlines():
        call.data(line)


async def _decide(call: Call, id: str, verdict: Literal["approve", "deny"], hash: str | None, reason: str) -> None:
    async with call.deck() as deck:
        view = await _found(deck, id)
        call.run = view.run
        if hash is not None and not (len(hash) >= 8 and view.action_hash.startswith(hash)):
            raise Conflicting(
                f"{view.approval} asks for something else",
                why=f"its hash is {view.action_hash[:16]}, not {hash[:16]}",
                fix=f"quarterdeck inbox {view.approval}",
            )
        by = call.settings.user
        await deck.decide(view.approval, verdict, action_hash=view.action_hash, reason=reason, by=by)
        after = next((each for each in await deck.approvals(open=False) if each.approval == view.approval), view)
        await deck.settle()
        attended = await deck.attended()
    word = "approved" if verdict == "approve" else "denied"
    call.emit("approval.decided", {**_plain(after), "status": word, "by": by, "reason": reason})
    next_step = "it goes on" if attended else f"nobody works on it now; go on with: quarterdeck resume {view.run}"
    call.say(f"{view.approval} is {word} ({view.title}); {next_step}")


async def _found(deck: DeckApi, id: str) -> ApprovalView:
    """The approval of that id or unique beginning. Raises NotFound, Conflicting."""
    if not id:
        raise NotFound("the id is empty", fix="quarterdeck inbox")
    fits = [view for view in await deck.approvals(open=False) if view.approval.startswith(id)]
    exact = [view for view in fits if view.approval == id]
    found = exact or [view for view in fits if view.status == "open"] or fits
    if not found:
        raise NotFound(f"there is no approval {id}", fix="quarterdeck inbox")
    if len(found) > 1:
        some = ", ".join(view.approval for view in found[:5])
        raise Conflicting(f"{id} could be {len(found)} approvals", why=some, fix="write more of the id")
    return found[0]


def ranked(approvals: list[ApprovalView]) -> list[ApprovalView]:
    """In the order in which they are worth a look. Pure."""
    return sorted(approvals, key=lambda view: (_RISK.index(view.risk), view.since, view.approval))


def _show(call: Call, view: ApprovalView, subject: str | None = None) -> None:
    now = time.time()
    body = {**_plain(view), "approve": f"quarterdeck approve {view.approval}", "deny": _deny(view)}
    call.emit("approval", body if subject is None else {**body, "subject": subject})
    left = "" if view.expires_at is None else f", expires in {duration(max(0.0, view.expires_at - now))}"
    state = left if view.status == "open" else f", {view.status}{f' by {view.by}' if view.by else ''}"
    call.data(f"{view.approval}  {clean(view.title)}")
    where = view.attempt or view.run
    call.data(f"  {view.what} of {where}, asked {duration(now - view.since)} ago{state}")
    amount = f"may cost {usd(view.cost_nusd)}" if view.what == "plan" else f"{usd(view.cost_nusd)} so far"
    call.data(f"  risk {view.risk}{f', {amount}' if view.cost_nusd else ''}, hash {view.action_hash[:16]}")
    for why in view.why:
        call.data(f"    - {clean(why)}")
    if view.status == "open":
        if subject is None:
            call.data(f"  look: quarterdeck inbox {view.approval}")
        call.data(f"  answer: quarterdeck approve {view.approval}   or   {_deny(view)}")


def _show_red(call: Call, red: RedView) -> None:
    call.emit("red", asdict(red))
    call.data(f"{red.run}, red target, for {duration(time.time() - red.since)}")
    call.data(f"  {clean(red.reason)}")
    call.data(f"  what to do: {clean(red.fix)}")


def _show_question(call: Call, wait: WaitView) -> None:
    answer = f"quarterdeck answer {wait.attempt or wait.run} TEXT"
    call.emit("wait", {**asdict(wait), "answer": answer})
    call.data(f"{wait.attempt or wait.run}, asked {duration(time.time() - wait.since)} ago")
    for line in clean(wait.question, lines=True).splitlines():
        call.data(f"  {line}")
    call.data(f"  answer: {answer}")


def _deny(view: ApprovalView) -> str:
    return f'quarterdeck deny {view.approval} --reason "…"'


def _plain(view: ApprovalView) -> dict[str, object]:
    body = asdict(view)
    return {**body, "cost_usd": to_usd(body.pop("cost_nusd"))}


def told_to_wait(call: Call, approvals: list[ApprovalView]) -> None:
    """Say what a run waits for while somebody watches it."""
    for view in approvals:
        call.say(
            f"{view.title} waits to be approved (risk {view.risk}): quarterdeck approve {view.approval}", Tone.WARN
        )
        for why in view.why[:5]:
            call.say(f"  - {why}")
    call.say("this process waits and goes on by itself; Ctrl-C leaves the run waiting")
