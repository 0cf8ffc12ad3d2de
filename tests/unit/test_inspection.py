"""Which changes are looked at, and which Python reads their sources."""

import subprocess
from pathlib import Path

import pytest

from quarterdeck.delivery.validation.inspection import NEWEST, worth_a_look
from quarterdeck.kernel.config import ValidationSection
from quarterdeck.workplace.history import FileChange

WORKS, BROKEN = 'echo "$0" "$@"\n', "exit 1\n"


@pytest.mark.parametrize(
    ("there", "runs"),
    [
        ({"python3": WORKS}, "python3"),
        ({"python3": WORKS, "python3.11": WORKS, "python3.12": WORKS}, "python3.12"),
        ({"python3": WORKS, "python3.14": BROKEN, "python3.13": WORKS}, "python3.13"),
        ({"python3": WORKS, "python3.13": BROKEN}, "python3"),
    ],
)
def test_the_newest_that_works_reads_them(tmp_path: Path, there: dict[str, str], runs: str) -> None:
    for name, does in there.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}")
        (tmp_path / name).chmod(0o755)
    command = ("/bin/sh", "-c", NEWEST, "sh", "-I", "-c", "program", "its argument")
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{tmp_path / runs} -I -c program its argument"


@pytest.mark.parametrize(
    ("path", "status", "modes", "looked"),
    [
        ("a.rs", "D", ("100644", "000000"), True),  # tests may have stood in it
        ("AddTest.java", "D", ("100644", "000000"), True),
        ("a.txt", "M", ("100644", "100644"), True),
        ("a.txt", "A", ("000000", "100644"), False),
        ("a.py", "A", ("000000", "100644"), True),
        ("sub", "D", ("160000", "000000"), False),
    ],
)
def test_what_is_gone_is_looked_at_too(path: str, status: str, modes: tuple[str, str], looked: bool) -> None:
    change = FileChange(path, "", status, *modes, size=1)
    assert worth_a_look([change], ValidationSection()) is looked
