"""From a message to an order. Pure.

Rules
- The trigger says everything about its run; a message only fills the named places of its goal.
- Runs of a trigger count for the trigger, not for the person whose machine it is: `trigger:NAME`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from quarterdeck.delivery.order import Order
from quarterdeck.kernel.triggers import TriggerSection, is_remote
from quarterdeck.triggers.goal import Piece, render
from quarterdeck.triggers.messages import GITHUB_FIELDS, ISSUE_GOAL, NotAllowed, Reading, Wanted, github, parse, webhook
from quarterdeck.triggers.port import Clone, Received

CRON_FIELDS: Final = ("date", "time")
CLOCK_DELIVERY: Final = "clock/"


def read(section: TriggerSection, received: Received) -> Reading:
    """What a message asks for."""
    if section.kind == "cron":
        moment = datetime.fromtimestamp(received.at, UTC)
        pieces = {
            "date": Piece(moment.strftime("%Y-%m-%d"), plain=True),
            "time": Piece(moment.strftime("%H:%M UTC"), plain=True),
        }
        return Wanted(pieces, f"its schedule at {moment:%Y-%m-%d %H:%M} UTC")
    payload = parse(received.body.encode("utf-8", "replace"))
    if payload is None:
        return NotAllowed("payload", "its body is not a JSON object")
    return github(section, received.event, payload) if section.kind == "github" else webhook(section, payload)


def known_fields(section: TriggerSection) -> tuple[str, ...]:
    """What the trigger's goal may name."""
    return {"github": GITHUB_FIELDS, "cron": CRON_FIELDS, "webhook": tuple(section.fields)}[section.kind]


def order_of(name: str, section: TriggerSection, received: Received, wanted: Wanted, clone: Clone | None) -> Order:
    """The order. `clone`: where the repository is on the GitHub server."""
    source = {"github": f"GitHub, {wanted.by}", "webhook": f"the webhook {name}", "cron": "the clock"}[section.kind]
    told = wanted.origin.model_copy(
        update={
            "trigger": name,
            "delivery": received.delivery,
            "repository": section.remote or "",
            "by": wanted.by,
            "base": clone.branch if clone is not None else "",
            "publish": section.publish and clone is not None,
            "subject": subject_of(name, wanted),
        }
    )
    return Order(
        goal=render(section.goal, wanted.pieces, source=source) if section.goal is not None else None,
        plan_path=Path(section.plan).expanduser() if section.plan is not None else None,
        repository=clone.path if clone is not None else Path(section.repository).expanduser(),
        base=clone.commit if clone is not None else section.base,
        into=section.into,
        agent=section.agent,
        budget_usd=section.budget,
        max_parallel=section.max_parallel,
        user=f"trigger:{name}",
        origin=told,
    )


_ABOUT: Final = "It is about the issue {issue}, {title}.\n{body}"
_ISSUE: Final = re.compile(r"(?P<repository>[A-Za-z0-9-]+/[A-Za-z0-9._-]+)(?:#|/issues/)(?P<number>[1-9]\d{0,9})/?")


def issue_named(reference: str, server: str) -> tuple[str, int] | None:
    """(`OWNER/NAME`, number) of `OWNER/NAME#7` or of its address on `server`; None = it is no issue there."""
    text = reference.strip().partition("?")[0]
    text = text.removeprefix(f"{server}/") if "://" in text else text
    found = _ISSUE.fullmatch(text.partition("#issuecomment")[0])
    return (found["repository"], int(found["number"])) if found and is_remote(found["repository"]) else None


def issue_goal(text: str | None, pieces: Mapping[str, Piece], source: str) -> str:
    """The goal of a run for an issue. `text`: what the person who orders it wants besides."""
    if text is None:
        return render(ISSUE_GOAL, pieces, source=source)
    # A person's words are no template: braces in them are theirs.
    return f"{text.strip()}\n\n{render(_ABOUT, pieces, source=source)}"


def subject_of(name: str, wanted: Wanted) -> str:
    """What a message is about, as a name that is one over the whole deck."""
    if wanted.origin.subject or not wanted.subject:
        return wanted.origin.subject
    return f"{name}:{wanted.subject}"
