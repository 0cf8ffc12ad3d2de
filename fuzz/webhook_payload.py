"""The body of a message from outside, as GitHub's webhook and as anybody's.

Rules
- Whatever it says, it is wanted, ignored or refused; nothing is raised.
- A goal that is made of it keeps the operator's frame: no line of it that came from outside begins without its mark.
"""

from collections.abc import Sequence
from typing import Final

from fuzz.shapes import Choices
from quarterdeck.kernel.triggers import TriggerSection
from quarterdeck.triggers.goal import render
from quarterdeck.triggers.messages import Ignored, NotAllowed, Wanted, github, parse, webhook

INSTRUMENTED = ("quarterdeck.triggers.messages", "quarterdeck.triggers.goal")
WORDS = ("action", "labeled", "issue", "number", "label", "name", "repository", "full_name", "sender", "login", "body")

_GITHUB: Final = TriggerSection(
    kind="github",
    repository="acme/shop",
    secret_env="S",
    labels=("q",),
    command="/q",
    goal="FRAME {title}\n{body}\n{comment}",
)
_ANYBODY: Final = TriggerSection(
    kind="webhook", repository="/srv/shop", secret_env="S", fields={"t": "issue.title"}, goal="FRAME {t}"
)


def one(data: bytes) -> None:
    """Read it, and make a goal of it."""
    choices = Choices(data)
    event = ("issues", "issue_comment")[choices.number() % 2]
    payload = parse(data[1:])
    if payload is None:
        return
    for section, found in ((_GITHUB, github(_GITHUB, event, payload)), (_ANYBODY, webhook(_ANYBODY, payload))):
        assert isinstance(found, Wanted | Ignored | NotAllowed)
        if isinstance(found, Wanted):
            goal = render(section.goal or "", found.pieces, source=found.by).split("\n\nWhat stands behind")[0]
            assert all(line.startswith(("FRAME ", ">")) or line in ("", "FRAME") for line in goal.split("\n")), goal


def seeds() -> Sequence[bytes]:
    """Messages that are wanted."""
    issue = (
        b'"issue":{"number":7,"title":"x","body":"a\\n> b","state":"open","user":{"login":"e"},"labels":[{"name":"q"}]}'
    )
    rest = b'"repository":{"full_name":"acme/shop"},"sender":{"login":"ada","type":"User"}}'
    said = b'"comment":{"body":"/q go","author_association":"OWNER"},'
    return [
        b'\0{"action":"labeled","label":{"name":"q"},' + issue + b"," + rest,
        b'\1{"action":"created",' + said + issue + b"," + rest,
    ]
