"""What the deck says on a GitHub server: titles, descriptions, comments. Pure.

Rules
- What an agent or an issue said is passed on inert: it mentions nobody, links and closes no issue, hides nothing.
- Only the deck itself closes an issue, and only with a run that did all of its work.
- Each comment carries a mark that only its occasion has, so that it is found again instead of being said twice.
"""

import re
from typing import Final

from quarterdeck.delivery.order import RunResult
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.triggers import Origin

MAX_BODY: Final = 60_000
"""Characters; GitHub takes 65,536."""
_MAX_TITLE: Final = 200
_GAP: Final = "\u200b"
_MENTION: Final = re.compile(r"@(?=[A-Za-z0-9])")
_REFERENCE: Final = re.compile(r"(?i)(#|\bGH-|/issues/|/pull/)(?=\d)")
_CLOSING: Final = re.compile(r"(?i)\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(?=:?\s+\S*(?:#|issues/|pull/|GH-))")


def inert(text: str) -> str:
    """Text of somebody else, so that GitHub does nothing because of it."""
    text = _CLOSING.sub(rf"\1{_GAP}", text)
    text = _REFERENCE.sub(rf"\1{_GAP}", _MENTION.sub(f"@{_GAP}", text))
    return text.replace("<!--", f"<{_GAP}!--")


def pull_title(origin: Origin, goal: str) -> str:
    """The title of a pull request."""
    first = (origin.title or goal.strip().partition("\n")[0] or "Quarterdeck").strip()
    return inert(first)[:_MAX_TITLE]


def pull_body(origin: Origin, result: RunResult, report: str) -> str:
    """Its description: the report, and which issue it is for."""
    lines = []
    if origin.issue is not None:
        lines = [f"{'Closes' if result.status is RunStatus.DONE else 'Part of'} #{origin.issue}", ""]
    return _bounded("\n".join([*lines, inert(report).strip(), "", f"Run `{result.run}` of Quarterdeck."]))


def failed(result: RunResult, pull: str) -> str:
    """The comment about a run that did not do all of its work."""
    lines = [f"The run `{result.run}` ended **{result.status}**: {inert(result.reason) or 'see its report'}", ""]
    lines += [
        f"- `{task.id}` {task.status}{f': {inert(task.reason)}' if task.reason else ''}"
        for task in result.tasks
        if task.status is not TaskStatus.MERGED
    ]
    lines += ["", f"What was finished: {pull}" if pull else "Nothing of it landed."]
    return _bounded("\n".join([*lines, "", f"Try again with `quarterdeck resume {result.run} --retry`."]))


def waiting(run: str, reason: str) -> str:
    """The comment about a run that waits for a person."""
    asked = "\n".join(f"> {line}" for line in inert(reason).splitlines())
    return _bounded(
        f"The run `{run}` waits for a person:\n\n{asked}\n\nThe operator finds it with "
        "`quarterdeck inbox`, and answers or approves it."
    )


def marked(body: str, mark: str) -> str:
    """A comment with its mark."""
    return f"{body}\n\n{mark}"


def mark_of(run: str, about: str) -> str:
    """The mark of one occasion. It is invisible where the comment is shown."""
    return f"<!-- quarterdeck {run} {about} -->"


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_BODY else f"{text[:MAX_BODY]}\n\n(cut here; the deck has the whole of it)"
