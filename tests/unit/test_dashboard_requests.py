"""What the dashboard asks for exists: every request in its source is one that the API describes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "web" / "src"
DESCRIPTION = ROOT / "docs" / "reference" / "openapi.json"
PREFIX = "/api/v1/"
REQUEST = re.compile(r"""\b(get|post|text|postSeen|sendSeen)(?:<[\w\[\]]+>)?\(\s*(?:`([^`]*)`|"([^"]*)")""")


def requests(source: str) -> Iterator[tuple[str, str]]:
    """(method, path) with `{}` for each part that is filled in."""
    for how, filled, plain in REQUEST.findall(source):
        yield "get" if how in ("get", "text") else "post", re.sub(r"\$\{[^}]*\}", "{}", filled or plain)


def bound() -> set[tuple[str, str]]:
    """Requests that carry the version of the run that the person saw."""
    source = "\n".join(path.read_text() for path in sorted(SOURCE.rglob("*.tsx")))
    found = [
        (how, filled or plain) for how, filled, plain in REQUEST.findall(source) if how in ("postSeen", "sendSeen")
    ]
    return {("post", re.sub(r"\$\{[^}]*\}", "{}", path)) for _, path in found}


def described(header: str = "") -> set[tuple[str, str]]:
    """What the API describes; those that take the header, where one is named."""
    document = json.loads(DESCRIPTION.read_text())
    return {
        (method, re.sub(r"\{[^}]*\}", "{}", path.removeprefix(PREFIX)))
        for path, methods in document["paths"].items()
        for method, about in methods.items()
        if not header or header in [each["name"].lower() for each in about.get("parameters", ())]
    }


def asked() -> dict[tuple[str, str], str]:
    return {
        request: path.relative_to(SOURCE).as_posix()
        for path in sorted(SOURCE.rglob("*.ts*"))
        for request in requests(path.read_text())
    }


def test_every_request_of_the_dashboard_is_one_that_the_api_describes() -> None:
    there = described()
    missing = {request: place for request, place in asked().items() if request not in there}
    assert missing == {}


def test_what_is_bound_to_what_a_person_saw_is_bound_by_the_api_too() -> None:
    orders = ("runs/{}/resume", "runs/{}/budget", "runs/{}/answer", "runs/{}/revert", "tasks/{}/{}/retry")
    assert bound() == {("post", order) for order in orders}
    assert bound() <= described("if-match")


def test_the_requests_are_found() -> None:
    found = asked()
    assert ("post", "approvals/{}") in found
    assert ("get", "me") in found
    assert len(found) >= 15


@pytest.mark.parametrize(
    ("source", "request_"),
    [
        ("post(`runs/${part(run.run)}/pause`)", ("post", "runs/{}/pause")),
        ('await get<Me>("me")', ("get", "me")),
        ("get<ApprovalRow[]>(\n  `tasks/${part(a)}/${part(b)}/retry`, x)", ("get", "tasks/{}/{}/retry")),
    ],
)
def test_a_request_is_read_from_the_source(source: str, request_: tuple[str, str]) -> None:
    assert list(requests(source)) == [request_]
