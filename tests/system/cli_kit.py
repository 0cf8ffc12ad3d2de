"""What tests of the command line share that drive it in this process: what it said, and that it said it well."""

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import store_kit
from deck_kit import Place

from quarterdeck.cli.main import main


@dataclass(frozen=True)
class Said:
    """How one command ended."""

    code: int
    out: str
    err: str


def call(place: Place, *arguments: str, cwd: Path | None = None, **environment: str) -> Said:
    """One command of the deck of `place`, in this process."""
    out, err = io.StringIO(), io.StringIO()
    changes = {"QUARTERDECK_HOME": str(place.home), **store_kit.told(place.home / "deck.db"), **environment}
    with (
        mock.patch.dict(os.environ, changes),
        contextlib.chdir(cwd or place.root),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(arguments)
    return Said(code, out.getvalue(), err.getvalue())


def assert_refused(said: Said, code: int, *words: str) -> None:
    """Nothing was done, and a person reads what happened, why, and what to do next, never a trace."""
    told = " ".join(said.err.split())
    assert (said.code, said.out) == (code, ""), told
    assert "Traceback" not in told and "a bug in" not in told, told
    assert " next: " in told, told
    for word in words:
        assert word in told, told
