"""The search: libFuzzer by way of atheris, over one target in this process.

Rules
- atheris is built for Linux on x86-64 only. Where it is missing nothing is fuzzed, and that is said: a search without
  coverage would look like one.
- The seeds are written anew each time; what the search adds stays in the corpus beside them, so that it goes on there.
- An input that shows a bug lies in the target's folder as `crash-…`, `timeout-…` or `oom-…` afterwards.
"""

import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

from fuzz.bounds import bounded

TARGETS: Final = (
    "plan_file",
    "agent_file",
    "handoff",
    "tool_arguments",
    "tool_servers",
    "pack_import",
    "worker_frames",
    "mcp_server",
    "acp_agent",
    "stream_anthropic",
    "stream_responses",
    "stream_chat",
    "stream_google",
    "stream_ollama",
    "ratelimit_headers",
    "diff",
    "gateway_calls",
    "webhook_payload",
    "merge_texts",
    "runner_output",
    "touching",
    "survey",
    "deck_file",
)
"""One module each."""

_HANG: Final = 30
"""Seconds of wall time after which an input is given up by libFuzzer itself; `bounds` judges what it took before."""
_RESIDENT: Final = 1024
"""MiB of the whole process, corpus and coverage included."""


class Target(Protocol):
    INSTRUMENTED: tuple[str, ...]

    def seeds(self) -> Sequence[bytes]: ...

    def one(self, data: bytes) -> None: ...


def missing() -> str | None:
    """Why nothing can be fuzzed here; None = it can."""
    if importlib.util.find_spec("atheris") is None:
        return "atheris is not installed: it exists for Linux on x86-64 only, see the extra `fuzz` in pyproject.toml"
    return None


def load(name: str) -> Target:
    """The target of that name, as it is. Raises KeyError."""
    if name not in TARGETS:
        raise KeyError(name)
    return cast(Target, importlib.import_module(f"fuzz.{name}"))


def replay(name: str, files: Sequence[Path]) -> None:
    """Feed these inputs to a target, without any search. Raises what the first bug among them raises."""
    one = bounded(load(name).one)
    for file in files:
        one(file.read_bytes())


def search(name: str, folder: Path, limits: Sequence[str]) -> None:
    """Search for bugs until libFuzzer's `limits` (`-runs=…`, `-max_total_time=…`, `-seed=…`) end this process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=_instrumented(name)):
        target = load(name)
    _search(atheris, target, folder, limits)


def search_each(runs: Mapping[str, int], folder: Path, limits: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Search in each of these targets, for so many inputs, in a process forked from this one: what they need is loaded
    and instrumented once for all. Each target, as it ends, with its exit code; what it said lies beside its folder."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=sorted({word for name in runs for word in _instrumented(name)})):
        targets = {name: load(name) for name in runs}
    for name, target in targets.items():
        pid = os.fork()
        if pid == 0:
            _made(folder / name)
            said = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(said, 1)
            os.dup2(said, 2)
            _search(atheris, target, folder / name, (f"-runs={runs[name]}", *limits))
        yield name, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _search(atheris: Any, target: Target, folder: Path, limits: Sequence[str]) -> None:
    seeds, corpus = _made(folder / "seeds"), folder / "corpus"
    tempfile.tempdir = str(_made(folder / "scratch"))  # the search ends without any clearing away
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (seeds / f"{number:03}").write_bytes(seed)
    arguments = [
        sys.argv[0],
        f"-artifact_prefix={folder}/",
        f"-timeout={_HANG}",
        f"-rss_limit_mb={_RESIDENT}",
        f"-dict={_dictionary(folder / 'words', getattr(target, 'WORDS', ()))}",
        *limits,
        str(corpus),
        str(seeds),
    ]
    one: Callable[[bytes], None] = bounded(target.one)
    atheris.Setup(arguments, one)
    atheris.Fuzz()


def _instrumented(name: str) -> list[str]:
    """Read off the source, because importing the target would import what has to be instrumented."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    line = next(line for line in source.splitlines() if line.startswith("INSTRUMENTED"))
    return [word for word in line.partition("=")[2].split('"')[1::2] if word]


def _made(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _dictionary(file: Path, words: Sequence[str]) -> Path:
    lines = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in words)
    file.write_text("".join(f'"{line}"\n' for line in lines), encoding="ascii")
    return file
