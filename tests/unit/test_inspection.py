"""Which Python reads the sources of a change."""

import subprocess
from pathlib import Path

import pytest

from quarterdeck.delivery.validation.inspection import NEWEST

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
