"""Which command lines of agents `doctor` and `agents` show, and how."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from quarterdeck.assembly import clis
from quarterdeck.delivery.order import Cli
from quarterdeck.settings import Settings, load_settings


def settings(tmp_path: Path, path: str) -> Settings:
    return replace(load_settings({"HOME": str(tmp_path), "PATH": path}), user_home=tmp_path)


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


async def test_what_is_not_there_is_named_with_its_fix(tmp_path: Path) -> None:
    found = await clis.known(settings(tmp_path, str(tmp_path)))
    assert [cli.profile for cli in found] == ["claude", "codex", "opencode", "gemini"]
    assert not any(cli.installed for cli in found)
    for check in clis.checks(found):
        assert (check.ok, check.level) == (False, "info")
        assert check.fix.startswith("npm install")
        assert "is not on PATH" in check.detail


async def test_a_program_that_says_its_version_nowhere_else_is_asked(tmp_path: Path) -> None:
    program(tmp_path / "bin", "opencode", "#!/bin/sh\necho opencode v1.18.4-beta.1 of today\n")
    found = {cli.profile: cli for cli in await clis.known(settings(tmp_path, str(tmp_path / "bin")))}
    assert (found["opencode"].installed, found["opencode"].version) == (True, "1.18.4-beta.1")
    assert found["opencode"].label == "OpenCode 1.18.4-beta.1"


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho no numbers\n"])
async def test_one_that_does_not_say_is_there_all_the_same(tmp_path: Path, text: str) -> None:
    program(tmp_path / "bin", "opencode", text)
    found = {cli.profile: cli for cli in await clis.known(settings(tmp_path, str(tmp_path / "bin")))}
    assert (found["opencode"].installed, found["opencode"].version) == (True, "")
    assert "of an unknown version" in clis.checks((found["opencode"],))[0].detail


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"#!/no/such/interpreter\n", "the program that it runs on is not there"),
        (b"#!/usr/bin/env no-such-interpreter\n", "the program that it runs on is not there"),
        (b"\x7fELF and no more", "Exec format error"),
    ],
)
async def test_one_that_cannot_be_started_is_named_with_the_reason(tmp_path: Path, data: bytes, why: str) -> None:
    program(tmp_path / "bin", "opencode", "")
    (tmp_path / "bin" / "opencode").write_bytes(data)
    found = {cli.profile: cli for cli in await clis.known(settings(tmp_path, str(tmp_path / "bin")))}
    (check,) = clis.checks((found["opencode"],))
    assert (check.ok, check.fix) == (False, "npm install -g opencode-ai")
    assert why in check.detail


async def test_one_that_never_stops_talking_is_heard_for_as_long_as_a_version_takes(tmp_path: Path) -> None:
    said = tmp_path / "more"
    program(tmp_path / "bin", "opencode", f"#!/bin/sh\necho 7.8.9\nyes\ntouch {said}\n")
    found = {cli.profile: cli for cli in await clis.known(settings(tmp_path, f"{tmp_path}/bin:/usr/bin:/bin"))}
    assert found["opencode"].version == "7.8.9"
    assert not said.exists()


async def test_one_that_leaves_somebody_behind_who_holds_its_output_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clis, "_LAST_SECONDS", 0.1)
    left = tmp_path / "left"
    stays = f"setsid sh -c 'echo $$ > {left}.new; mv {left}.new {left}; exec sleep 600' &"
    program(tmp_path / "bin", "opencode", f"#!/bin/sh\n{stays}\nwhile [ ! -e {left} ]; do :; done\necho 7.8.9\nyes\n")
    try:
        async with asyncio.timeout(60):
            found = {cli.profile: cli for cli in await clis.known(settings(tmp_path, f"{tmp_path}/bin:/usr/bin:/bin"))}
        assert found["opencode"].version == "7.8.9"
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)


def test_a_login_is_told() -> None:
    cli = Cli(profile="codex", title="Codex", installed=True, version="0.169.0", login=True)
    assert clis.checks((cli,))[0].detail == "0.169.0; its own login is there"
