"""The peers: how their environments are made, and how their scripts are run.

Rules
- Each peer has a directory with `requirements.txt` (exact versions, hashes) and scripts that print one JSON object. Its
  environment is made at first use, and again when the requirements change or the interpreter that this is run with, so
  that all run on the same one; afterwards nothing needs a network.
- `quarterdeck` is a peer like the others, in this environment.
- A script starts with next to nothing in its environment: no keys, no proxies, and telemetry has nothing to go by.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parent.parent / "build" / "peers"
OURS: Final = "quarterdeck"
LINES: Final = 26

PEERS: Final = ("sdk", "agent-framework", "langgraph", "openai-agents", "pydantic-ai", "dbos", "litellm")


class PeerFailed(Exception):
    """A peer's environment or script failed."""


def python(peer: str) -> Path:
    """The peer's interpreter; its environment is made where it is missing. Raises PeerFailed."""
    if peer == OURS:
        return Path(sys.executable)
    requirements = HERE / peer / "requirements.txt"
    place, wanted = BUILD / peer, made_from(requirements.read_bytes(), sys.version, os.path.realpath(sys.executable))
    interpreter, stamp = place / "bin" / "python", place / "made"
    if stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    sys.stderr.write(f"       making the environment of {peer} ...\n")
    shutil.rmtree(place, ignore_errors=True)
    uv = str(Path(sys.executable).parent / "uv")
    _done([uv, "venv", "--quiet", "--python", sys.executable, str(place)], 120)
    install = [uv, "pip", "install", "--quiet", "--python", str(interpreter), "--require-hashes", "-r"]
    _done([*install, str(requirements)], 600)
    stamp.write_text(wanted)
    return interpreter


def made_from(requirements: bytes, *interpreter: str) -> str:
    """What an environment is made from, as one digest. Pure."""
    return hashlib.sha256(b"\0".join([requirements, *(text.encode() for text in interpreter)])).hexdigest()


def _done(command: list[str], seconds: float) -> None:
    try:
        subprocess.run(command, check=True, timeout=seconds, capture_output=True, text=True)
    except (subprocess.SubprocessError, OSError) as error:
        said = str(getattr(error, "stderr", "") or "")
        raise PeerFailed(f"{' '.join(command[:3])}: {error} {said[-800:]}") from error


def environment(home: Path) -> dict[str, str]:
    """What a script sees of the environment."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(home),
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(peer: str, script: str, *arguments: str, seconds: float = 300.0) -> dict[str, Any]:
    """What the peer's script found; it gets a directory of its own with ten files of 1.1 KB. Raises PeerFailed."""
    interpreter = python(peer)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        place = Path(name)
        place.chmod(0o755)  # the unprivileged user of the sandboxes has to get through
        _fill(place / "files")
        command = [str(interpreter), str(HERE / peer / f"{script}.py"), "--place", name, *arguments]
        try:
            done = subprocess.run(
                command, env=environment(place), capture_output=True, text=True, timeout=seconds, check=True, cwd=name
            )
            found = json.loads(done.stdout.strip().splitlines()[-1])
        except subprocess.CalledProcessError as error:
            raise PeerFailed(f"{peer}/{script}.py {' '.join(arguments)}: {error.stderr.strip()[-800:]}") from error
        except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
            raise PeerFailed(f"{peer}/{script}.py {' '.join(arguments)}: {error}") from error
    if not isinstance(found, dict):
        raise PeerFailed(f"{peer}/{script}.py printed no JSON object")
    return found


def _fill(files: Path) -> None:
    files.mkdir()
    for number in range(10):
        lines = (f"line {line:02d} of the file number {number}, twenty-eight\n" for line in range(LINES))
        (files / f"file{number}.txt").write_text("".join(lines))


@contextmanager
def scripted() -> Iterator[str]:
    """The scripted model in a process of its own: ten tool calls, then the end, at once; a task that ends in `Slowly.`
    gets no sixth answer. Yields the address for Chat Completions."""
    turns = [
        {"text": f"I read file{number}.txt.", "actions": [{"read": {"path": f"file{number}.txt"}}]}
        for number in range(10)
    ]
    submits = {"actions": [{"submit": {"summary": "All were read. Done."}}]}
    silent = [{"kind": "hang", "step": 5, "times": 0}]
    rules = [
        {"name": "slow", "match": {"first": r"Slowly\."}, "turns": turns, "faults": silent},
        {"name": "ours", "match": {"system": "submit"}, "turns": [*turns, submits]},
        {"name": "peers", "turns": turns},
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        scenario = Path(name) / "scenario.json"
        scenario.write_text(json.dumps({"rules": rules}))
        server = subprocess.Popen(
            [sys.executable, "-m", "quarterdeck.models.scripted", "--scenario", str(scenario)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdin is not None and server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["url"] + "/v1"
        finally:
            server.stdin.close()
            server.wait(timeout=30)
            server.stdout.close()
