"""What was tried and worked is known to the next process, as long as nothing has changed that it depends on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quarterdeck.workplace import tried

DAY = 86400


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    file = tmp_path / "tool"
    file.write_text("one")
    return file


@pytest.fixture
def place(tmp_path: Path, tool: Path) -> Path:
    """With a note that it worked."""
    place = tmp_path / "notes"
    place.mkdir()
    assert tried.known(place, "it", [tool]) is None
    tried.note(place, "it", [tool], "it said so")
    return place


def test_what_worked_is_known(place: Path, tool: Path) -> None:
    assert tried.known(place, "it", [tool]) == "it said so"
    assert tried.known(place, "something else", [tool]) is None
    assert tried.known(place, "it", []) is None
    assert len(list(place.iterdir())) == 1


def test_another_file_has_not_been_tried(place: Path, tool: Path) -> None:
    other = tool.with_name("other")
    other.write_text("one")
    os.utime(other, ns=(tool.stat().st_atime_ns, tool.stat().st_mtime_ns))
    assert tried.known(place, "it", [other]) is None
    other.replace(tool)
    assert tried.known(place, "it", [tool]) is None, "it was replaced by one that looks alike"


@pytest.mark.parametrize("change", ["written", "forbidden", "gone"])
def test_a_file_that_has_changed_is_tried_again(change: str, place: Path, tool: Path) -> None:
    if change == "written":
        os.utime(tool, ns=(0, 0))
    elif change == "forbidden":
        tool.chmod(0)
    else:
        tool.unlink()
    assert tried.known(place, "it", [tool]) is None


@pytest.mark.parametrize("age", [DAY, -60])
def test_a_note_holds_for_a_day(age: int, place: Path, tool: Path) -> None:
    note = next(place.iterdir())
    os.utime(note, (time.time() - age,) * 2)
    assert tried.known(place, "it", [tool]) is None
    tried.note(place, "something else", [tool])
    assert note.exists() is (age < 0)


@pytest.mark.skipif(sys.platform != "linux", reason="about what Linux lets a process do")
@pytest.mark.parametrize("less", [False, True])
def test_a_process_that_may_do_less_tries_for_itself(less: bool, place: Path, tool: Path) -> None:
    program = (
        "import ctypes, sys; from pathlib import Path; from quarterdeck.workplace import tried\n"
        "if sys.argv[1] == 'True': ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n"  # PR_SET_NO_NEW_PRIVS
        "print(tried.known(Path(sys.argv[2]), 'it', [Path(sys.argv[3])]))"
    )
    command = [sys.executable, "-c", program, str(less), str(place), str(tool)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == ("None" if less else "it said so")


def test_where_nothing_can_be_noted_all_is_tried_anew(tmp_path: Path, tool: Path) -> None:
    tried.note(tmp_path / "nowhere", "it", [tool])
    assert tried.known(tmp_path / "nowhere", "it", [tool]) is None
