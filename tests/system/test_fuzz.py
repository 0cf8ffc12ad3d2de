"""Every fuzz target, briefly: its seeds always, and a search with a fixed seed and number of inputs where there can be
one. The long searches are `make fuzz`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import engine

ROOT = Path(__file__).resolve().parents[2]

SLOW = {
    "pack_import": 30,
    "mcp_server": 60,
    "acp_agent": 100,
    "gateway_calls": 100,
    "stream_anthropic": 100,
    "stream_responses": 100,
    "stream_chat": 100,
    "stream_google": 100,
    "stream_ollama": 200,
    "merge_texts": 200,
    "runner_output": 30,
    "touching": 60,
    "survey": 200,
}
RUNS = {name: SLOW.get(name, 800) for name in engine.TARGETS}
"""Inputs for each target; less than half a second of CPU time."""


def fuzz(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # The same hashes each time: else the same seed leads another way through sets and dictionaries.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = (sys.executable, "-m", "fuzz", *map(str, arguments))
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and words of a search in each target."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "runs.json").write_text(json.dumps(RUNS))
    done = fuzz("--each", folder / "runs.json", "--seed", "1", "--folder", folder)
    assert done.returncode == 0, done.stderr[-4000:]
    codes = dict(line.split() for line in done.stdout.splitlines())
    return {name: (int(code), (folder / f"{name}.log").read_text(errors="replace")) for name, code in codes.items()}


@pytest.mark.xdist_group("fuzz")
@pytest.mark.parametrize("name", engine.TARGETS)
def test_a_brief_search_finds_nothing(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if (reason := engine.missing()) is not None:
        seeds = engine.load(name).seeds()
        files = [tmp_path / str(number) for number in range(len(seeds))]
        for file, seed in zip(files, seeds, strict=True):
            file.write_bytes(seed)
        done = fuzz(name, *files)
        assert done.returncode == 0, done.stderr[-4000:]
        pytest.skip(f"the seeds show no bug; no search: {reason}")
    code, said = request.getfixturevalue("searched")[name]
    assert code == 0, said[-4000:]
    ended = re.search(r"^Done (\d+) runs", said, re.MULTILINE)
    assert ended is not None, said[-4000:]
    assert int(ended[1]) >= RUNS[name]
    assert "INITED cov:" in said, "nothing guided the search"


def test_a_bug_ends_the_search_with_an_input_that_shows_it_again(tmp_path: Path) -> None:
    """The whole way, on a parser with a bug of our own: a search that could not find anything would pass above."""
    if (reason := engine.missing()) is not None:
        pytest.skip(reason)
    (tmp_path / "fuzz").symlink_to(ROOT / "fuzz")
    script = tmp_path / "search.py"
    script.write_text(
        "import sys, types, pathlib\n"
        "from fuzz import engine\n"
        "from quarterdeck.delivery.plans import document\n"
        "real = document.read_document\n"
        "def broken(data, *, origin):\n"
        "    if b'goal' in data and b'tasks' in data:\n"
        "        raise KeyError('a bug')\n"
        "    return real(data, origin=origin)\n"
        "document.read_document = broken\n"
        "engine.search('plan_file', pathlib.Path(sys.argv.pop()), ('-runs=100', '-seed=1'))\n",
        encoding="utf-8",
    )
    command = (sys.executable, str(script), str(tmp_path / "out"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode != 0
    assert "KeyError: 'a bug'" in done.stdout + done.stderr
    assert [file.name for file in (tmp_path / "out").glob("crash-*")], "the input was not kept"
