"""How a process of ours ends: everything that is due is done, and nothing is taken apart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quarterdeck.cli.leaving import UNWRITTEN

_PROGRAM = """
import atexit, logging.handlers, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from quarterdeck.cli.leaving import promptly

class Loaded:
    def __del__(self, write=os.write):
        write(1, b"taken apart\\n")

loaded = Loaded()
go = threading.Event()
pool = ThreadPoolExecutor(1)

def late():
    go.wait()
    threading.main_thread().join()
    print("thread")

def program():
    told = logging.FileHandler(sys.argv[1])
    logging.getLogger().addHandler(logging.handlers.MemoryHandler(9, target=told))
    logging.getLogger().warning("line")
    atexit.register(print, "registered")
    threading.Thread(target=late).start()
    pool.submit(go.set)
    print("printed")
    print("error", end="", file=sys.stderr)
    return 3

"""


def _ended(
    end: str, log: Path, stdout: int = subprocess.PIPE, program: str = _PROGRAM
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program + end, str(log)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, timeout=60, check=False
    )


def test_what_is_due_is_done_in_pythons_order_and_nothing_is_taken_apart(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = _ended("promptly(program)", log)
    plain = _ended("sys.exit(program())", tmp_path / "plain")
    assert (done.returncode, done.stderr, log.read_text()) == (3, "error", "line\n")
    assert done.stdout.splitlines() == ["printed", "thread", "registered"]
    assert (plain.returncode, plain.stderr) == (3, "error")
    assert plain.stdout.splitlines() == [*done.stdout.splitlines(), "taken apart"], "as Python ends by itself"


@pytest.mark.parametrize(("end", "code"), [("1 / 0", 1), ("raise SystemExit(5)", 5), ("raise KeyboardInterrupt", -2)])
def test_a_program_that_is_left_ends_as_python_has_it(end: str, code: int, tmp_path: Path) -> None:
    text = f"def left():\n    {end}\n"
    done, plain = (_ended(text + last, tmp_path / "log") for last in ("promptly(left)", "left()"))
    assert done.returncode == plain.returncode == code
    assert done.stderr.splitlines()[-1:] == plain.stderr.splitlines()[-1:]


def test_what_cannot_be_printed_is_said_by_the_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = _ended("promptly(lambda: print('x') or 0)", tmp_path / "log", full.fileno(), program=_IMPORT)
        plain = _ended("print('x')", tmp_path / "log", full.fileno(), program=_IMPORT)
    assert done.returncode == plain.returncode == UNWRITTEN


_IMPORT = "from quarterdeck.cli.leaving import promptly\n"
