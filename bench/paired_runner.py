"""Runs tests for `paired_judging` in the environment of a task: pytest is imported once, each run forks.

usage: python paired_runner.py     reads JSON lists (folder, source folder, seconds, test files), answers a line each

Rules
- Standard library and pytest only: this file runs in another environment than ours.
- A run is a process of its own, with its own folder, path and process group; nothing of it is left when it is judged.
- The answer is pytest's exit code, or -1 where it did not end in time.
"""

import json
import os
import select
import signal
import sys

import pytest


def run(folder: str, source: str, files: list[str]) -> int:
    """In a process of its own: the exit code of pytest."""
    os.setpgid(0, 0)
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = source  # for what the tests start themselves
    os.environ["HOME"] = folder
    sys.path.insert(0, source)
    return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *files]))


def judged(folder: str, source: str, seconds: float, files: list[str]) -> int:
    """The exit code of a run; -1 = it took too long."""
    ended, closes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ended)
        code = 1
        try:
            code = run(folder, source, files)
        finally:
            os._exit(code)
    os.close(closes)
    in_time = bool(select.select([ended], [], [], seconds)[0])
    os.close(ended)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    try:
        os.killpg(child, signal.SIGKILL)  # what it left behind
    except ProcessLookupError:
        pass
    return os.waitstatus_to_exitcode(status) if in_time else -1


def main() -> None:
    """See the module."""
    for line in sys.stdin:
        sys.stdout.write(f"{judged(*json.loads(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
