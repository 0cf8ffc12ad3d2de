"""The demo, played once as a user plays it: everything it promises happens, and nothing is left behind."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.demo import sample
from quarterdeck.demo.story import Kind, Story
from quarterdeck.kernel.failures import Exit
from quarterdeck.workplace.ground import Ground

BASE = "d919f04c1a29"
"""The sample's base commit on every machine; changes with sample.yaml alone."""


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "NO_COLOR": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "quarterdeck.cli.main", "demo", *arguments],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def naming(text: str) -> Iterator[str]:
    """Living processes that name `text` in their arguments or their environment."""
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "environ"):
            try:
                said = (process / file).read_bytes()
            except OSError:  # ended meanwhile, or somebody else's
                continue
            if text.encode() in said and process.name != str(os.getpid()):
                yield f"{process.name}: {said[:200]!r}"


def left_behind(tmp_path: Path, progress: str) -> list[str]:
    """Files and processes that the demo should have taken away."""
    place = re.sub(r"\s+", "", progress.partition("files at")[2]).partition("/webhooks")[0]
    ground = Ground(Path(place, "home")).root
    assert place.startswith(str(tmp_path))
    found = [str(path) for path in (tmp_path / "tmp").iterdir()]
    return [*found, *([str(ground)] if ground.exists() else []), *naming(place), *naming(str(ground))]


@pytest.mark.slow
@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_everything_that_the_demo_promises_happens_and_nothing_is_left(tmp_path: Path) -> None:
    played = start(tmp_path, "--json")
    out, progress = played.communicate(timeout=280)
    assert played.returncode == Exit.DONE, progress
    (line,) = out.splitlines()
    body = json.loads(line)
    assert (body["v"], body["kind"], body["ok"], body["model"]) == (1, "demo", True, "scripted")
    assert {name: bool(found and found["mended"]) for name, found in body["incidents"].items()} == {
        kind.name.lower(): True for kind in Kind
    }
    assert sorted(entry["task"] for entry in body["merged"]) == [
        "backoff",
        "idempotency",
        "receiver",
        "retry",
        "signing",
        "timeouts",
    ]
    assert all(check["ok"] for check in body["checks"]), body["checks"]
    assert body["parallel"] == 4
    assert body["cost_usd"] >= body["billed_usd"] > 0
    assert "THE MODEL IS SCRIPTED" in progress
    assert "\x1b" not in progress
    assert left_behind(tmp_path, progress) == []


@pytest.mark.slow
@pytest.mark.sandbox
@pytest.mark.timeout(120)
def test_a_demo_that_is_ended_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    played = start(tmp_path)
    assert played.stdout is not None
    assert played.stderr is not None
    progress = ""
    for line in played.stderr:
        progress += line
        if "an implementer starts" in line:
            break
    played.send_signal(signal.SIGTERM)
    progress += played.stderr.read()
    assert played.stdout.read() == ""
    assert played.wait(timeout=60) == Exit.INTERRUPTED, progress
    assert left_behind(tmp_path, progress) == []
    played.stdout.close()
    played.stderr.close()


def test_the_sample_is_the_same_everywhere(tmp_path: Path) -> None:
    made = asyncio.run(sample.make(tmp_path / "webhooks"))
    assert made.base.startswith(BASE)
    done = subprocess.run([sys.executable, *sample.GATE[1:]], cwd=made.place, capture_output=True, check=True)
    assert b"Ran 4 tests" in done.stderr


def test_what_was_not_seen_is_missing() -> None:
    assert Story().missing == list(Kind)
