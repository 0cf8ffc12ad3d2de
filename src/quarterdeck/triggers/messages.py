"""What a message from outside says, and whether it asks for a run. Pure: untrusted JSON in, closed values out.

Rules
- Only named fields are read, each of one type and bounded; everything else of a message is not looked at.
- GitHub: an issue gets one of the labels, is opened with one, or is commented with the command. Pull requests' comments
  and edits start nothing. What is not meant for a trigger is ignored, and leaves no record.
- Who asks must be allowed: one of `authors`; where none are named, a commenter or an issue's own author has to be the
  repository's owner, a member or a collaborator (a form can label an issue for a stranger). Somebody else who labels
  has the right to, or GitHub would not have let them. Bots start nothing unless they are named.
- A message about another repository than the trigger's is refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from quarterdeck.kernel.events.outside import RefusalCode
from quarterdeck.kernel.triggers import Origin, TriggerSection, issue_subject
from quarterdeck.triggers.goal import Piece, clean

TRUSTED: Final = ("OWNER", "MEMBER", "COLLABORATOR")
"""`author_association` of those who may start runs where `authors` names nobody."""
MAX_DEPTH: Final = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run is wanted."""

    pieces: Mapping[str, Piece]
    why: str
    by: str = ""
    subject: str = ""
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True, slots=True)
class Ignored:
    """It is not meant for this trigger."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """It asks for a run that it may not have."""

    code: RefusalCode
    reason: str
    subject: str = ""


Reading = Wanted | Ignored | NotAllowed


def parse(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a body; None = it is none."""
    try:
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _at(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: Any, *path: str) -> str:
    found = _at(value, *path)
    return found if isinstance(found, str) else ""


def _number(value: Any, *path: str) -> int | None:
    found = _at(value, *path)
    return found if type(found) is int and 0 < found < 1 << 53 else None


# --- GitHub ---------------------------------------------------------------------------------------------------


def github(section: TriggerSection, event: str, payload: Mapping[str, Any]) -> Reading:
    """What an event of GitHub asks for. `event`: its `X-GitHub-Event`."""
    action, number = _text(payload, "action"), _number(payload, "issue", "number")
    if (event, action) not in (("issues", "labeled"), ("issues", "opened"), ("issue_comment", "created")):
        return Ignored(f"{event or 'an event'} {action} starts nothing"[:200])
    if number is None or _at(payload, "issue", "pull_request") is not None:
        return Ignored("it is not about an issue")
    repository = _text(payload, "repository", "full_name")
    why = _asked(section, event, payload)
    if not why:
        return Ignored("neither a label nor the command of this trigger")
    origin = Origin(
        repository=repository[:200],
        issue=number,
        title=clean(_text(payload, "issue", "title"), lines=False)[:1000],
        by=_text(payload, "sender", "login")[:200],
        publish=section.publish,
        subject=issue_subject(repository[:200], number),
    )
    if repository.lower() != section.repository.lower():
        return NotAllowed("payload", f"it is about {repository[:200] or 'no repository'}, not {section.repository}")
    if problem := _stranger(section, event, payload):
        return NotAllowed("author", problem, origin.subject)
    if _text(payload, "issue", "state") == "closed":
        return NotAllowed("payload", "the issue is closed", origin.subject)
    return Wanted(_pieces(event, payload), f"{why} by {origin.by}", origin.by, origin.subject, origin)


def _asked(section: TriggerSection, event: str, payload: Mapping[str, Any]) -> str:
    """What of the event is meant for this trigger."""
    if event == "issue_comment":
        words = _text(payload, "comment", "body").split(maxsplit=1)
        return f"the command {section.command}" if section.command and words[:1] == [section.command] else ""
    if _text(payload, "action") == "labeled":
        names = [_text(payload, "label", "name")]
    else:
        listed = _at(payload, "issue", "labels")
        names = [_text(each, "name") for each in listed[:100]] if isinstance(listed, list) else []
    known = {label.lower() for label in section.labels}
    # An issue that is opened with a label is told twice; the second one is about the same thing.
    return next((f"the label {name[:100]}" for name in names if name.lower() in known), "")


def _stranger(section: TriggerSection, event: str, payload: Mapping[str, Any]) -> str:
    """Why the sender may not start a run; empty = may."""
    who = _text(payload, "sender", "login")
    if not who:
        return "it does not say who sent it"
    if who.lower() in {name.lower() for name in section.authors}:
        return ""
    if section.authors:
        return f"{who[:100]} is not among the authors of this trigger"
    if _text(payload, "sender", "type") == "Bot":
        return f"{who[:100]} is a bot, and not among the authors of this trigger"
    if event == "issue_comment":
        standing = _text(payload, "comment", "author_association")
    elif who.lower() == _text(payload, "issue", "user", "login").lower():
        standing = _text(payload, "issue", "author_association")
    else:
        return ""
    return (
        "" if standing in TRUSTED else f"{who[:100]} is {standing[:40] or 'nobody'} here; it takes {', '.join(TRUSTED)}"
    )


def _pieces(event: str, payload: Mapping[str, Any]) -> dict[str, Piece]:
    comment = _text(payload, "comment", "body") if event == "issue_comment" else ""
    return issue_pieces(
        _text(payload, "repository", "full_name"),
        _at(payload, "issue"),
        sender=_text(payload, "sender", "login"),
        label=_text(payload, "label", "name"),
        comment=comment.split(maxsplit=1)[1] if len(comment.split(maxsplit=1)) == 2 else "",
    )


def issue_pieces(
    repository: str, issue: Any, *, sender: str = "", label: str = "", comment: str = ""
) -> dict[str, Piece]:
    """The fields of a goal about an issue, as GitHub's API and its webhooks show it."""
    number = _number(issue, "number")
    return {
        "repository": Piece(repository, plain=True),
        "number": Piece(str(number or ""), plain=True),
        "issue": Piece(f"{repository}#{number}" if number else "", plain=True),
        "title": Piece(_text(issue, "title")),
        "body": Piece(_text(issue, "body"), block=True),
        "author": Piece(_text(issue, "user", "login")),
        "url": Piece(_text(issue, "html_url")),
        "sender": Piece(sender),
        "label": Piece(label),
        "comment": Piece(comment, block=True),
    }


GITHUB_FIELDS: Final = tuple(issue_pieces("", {}))
"""What a goal of a GitHub trigger may name."""
ISSUE_GOAL: Final = "Resolve the issue {issue}, {title}.\n{body}"
"""The goal where a person names an issue and nothing else."""


# --- everybody else -------------------------------------------------------------------------------------------


def webhook(section: TriggerSection, payload: Mapping[str, Any]) -> Reading:
    """What a signed message asks for: its named fields."""
    pieces: dict[str, Piece] = {}
    for name, place in section.fields.items():
        found = _at(payload, *place.split("."))
        if isinstance(found, bool | int | float):
            found = json.dumps(found)
        if isinstance(found, str):
            pieces[name] = Piece(found, block="\n" in found.strip() or len(found) > 200)
    subject = clean(pieces[section.subject].text, lines=False)[:300] if section.subject in pieces else ""
    if section.subject is not None and not subject:
        return NotAllowed("payload", f"the field {section.subject} is missing, and it says what the message is about")
    return Wanted(pieces, "a signed message", subject=subject)
