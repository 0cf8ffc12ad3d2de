"""The dashboard as it is shipped: its own tests pass, it is small, and it asks its own server alone for anything."""

import gzip
import json
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("dashboard")

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "src" / "quarterdeck" / "web"
BUDGET = 60 * 1024
"""Bytes of everything that a browser loads to show any one screen, as it goes over the wire."""

NAMES_ONLY = ("http://www.w3.org/",)
"""Addresses that name something and are never asked."""


def built() -> list[Path]:
    return sorted(path for path in BUILT.rglob("*") if path.suffix in (".html", ".js", ".css", ".svg"))


def loaded(manifest: dict[str, dict[str, Any]], entry: str) -> set[str]:
    """The files that `entry` of the builder's manifest needs."""
    chunk = manifest[entry]
    found = {chunk["file"], *chunk.get("css", ())}
    for needed in chunk.get("imports", ()):
        found |= loaded(manifest, needed)
    return found


def weight(names: set[str]) -> int:
    return sum(len(gzip.compress((BUILT / name).read_bytes(), 9)) for name in names)


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "web/build.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=200
    )


class Page(HTMLParser):
    """What of a document a strict policy would refuse, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if (tag == "script" and "src" not in given) or tag == "style":
            self.inline.append(tag)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self.loaded += [value for name, value in attrs if name in ("src", "href") and value]


def page(text: str) -> Page:
    found = Page()
    found.feed(text)
    return found


def outside(text: str) -> list[str]:
    return [url for url in re.findall(r"https?://[^\s\"'`)]*", text) if not url.startswith(NAMES_ONLY)]


@pytest.fixture(scope="module", autouse=True)
def dashboard() -> None:
    done = build()
    assert done.returncode == 0, done.stderr


def test_its_own_tests_pass() -> None:
    done = build("test")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_screen_is_small() -> None:
    manifest = json.loads((BUILT / ".vite" / "manifest.json").read_text())
    frame = {"index.html"} | loaded(manifest, "index.html")
    screens = [name for name in manifest if name.startswith("src/screens/")]
    assert len(screens) >= 4
    sizes = {screen: weight(frame | loaded(manifest, screen)) for screen in screens}
    assert max(sizes.values()) <= BUDGET, sizes


def test_a_strict_policy_refuses_nothing_of_it_and_nobody_else_is_asked() -> None:
    document = page((BUILT / "index.html").read_text())
    assert document.inline == []
    assert document.loaded and all(place.startswith("./assets/") for place in document.loaded)
    for path in built():
        text = path.read_text()
        assert outside(text) == [], path.name
        assert "eval(" not in text and "new Function" not in text, path.name


def test_what_is_forbidden_would_be_found() -> None:
    bad = page('<script>x()</script><p style="a" onclick="b"><script src="./assets/a.js"></script><style></style>')
    assert bad.inline == ["script", "style", "onclick", "style"]
    assert outside('fetch("https://cdn.example/x.js"), "http://www.w3.org/2000/svg"') == ["https://cdn.example/x.js"]


def test_it_is_in_the_wheel(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("quarterdeck/web/")}
    assert {f"quarterdeck/web/{path.relative_to(BUILT).as_posix()}" for path in built()} <= packed
