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
REQUEST = re.compile(r"""\b(get|post|text)(?:<[\w\[\]]+>)?\(\s*(?:`([^`]*)`|"([^"]*)")""")


def requests(source: str) -> Iterator[tuple[str, str]]:
    """(method, path) with `{}` for each part that is filled in."""
    for method, filled, plain in REQUEST.findall(source):
        yield "post" if method == "post" else "get", re.sub(r"\$\{[^}]*\}", "{}", filled or plain)


def described() -> set[tuple[str, str]]:
    document = json.loads(DESCRIPTION.read_text())
    return {
        (method, re.sub(r"\{[^}]*\}", "{}", path.removeprefix(PREFIX)))
        for path, methods in document["paths"].items()
        for method in methods
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
