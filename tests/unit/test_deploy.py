"""The compose file starts what there is: its commands can be given, its files lie where a deck looks for them, and its
image is made from what lies beside it.

No docker is needed: what the image's steps copy and run is read from the Dockerfile, and run with another `pip`.
"""

import fnmatch
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from quarterdeck.cli import up, worker
from quarterdeck.settings import load_settings, operator_outside

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
APPS = {"up": up.app, "worker": worker.app}


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return {name: service for name, service in found.items() if "command" in service}


def image_home() -> str:
    found = re.search(r"^ENV QUARTERDECK_HOME=(\S+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("name", sorted(services()))
def test_the_command_of_a_service_can_be_given(name: str) -> None:
    command, *arguments = services()[name]["command"]
    given = get_command(APPS[command]).make_context(command, list(arguments)).params
    if command == "up":
        assert (given["host"], given["no_work"]) == ("0.0.0.0", True)
    else:
        assert given["capacity"] == 16


@pytest.mark.parametrize("name", sorted(services()))
def test_each_service_has_a_home_that_lasts_with_the_operators_file_in_it(name: str) -> None:
    targets = [volume.split(":")[-2 if volume.endswith(":ro") else -1] for volume in services()[name]["volumes"]]
    assert image_home() in targets
    assert f"{image_home()}/deck.toml" in targets
    assert "/etc/quarterdeck/git" in targets
    assert services()[name]["environment"]["GIT_CONFIG_GLOBAL"] == "/etc/quarterdeck/git/config"


def test_workers_do_not_share_a_home() -> None:
    assert image_home() in services()["worker"]["volumes"], "anonymous: each container has one of its own"


def test_the_example_of_the_operators_file_is_understood(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "deck.toml.example", tmp_path / "deck.toml")
    environment = dict.fromkeys(services()["worker"]["environment"], "x")
    settings = load_settings({**environment, "QUARTERDECK_HOME": str(tmp_path)})
    assert (settings.database_url, settings.git_environment["GIT_SSH_COMMAND"]) == ("x", "x")
    assert operator_outside(settings.home).workers.takeover == 30.0


# --- the image ------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: each one's name, and the rest with its lines put together."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in whole.splitlines() if line.strip()]


def installing() -> str:
    """The command that installs the package."""
    (found,) = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    return found


def copied() -> tuple[list[str], str]:
    """What is copied into the image from this folder, and where to."""
    (found,) = [rest.split() for name, rest in instructions() if name == "COPY"]
    return found[:-1], found[-1]


def install(wheels: Path, package: str = "") -> subprocess.CompletedProcess[str]:
    """Run that command where wheels lie there, with a `pip` that says what it was given."""
    pip = wheels.parent / "bin" / "pip"
    pip.parent.mkdir(exist_ok=True)
    pip.write_text('#!/bin/sh\necho "$@"\n')
    pip.chmod(0o755)
    command = installing().replace(copied()[1], f"{wheels}/")
    environment = {"PATH": f"{pip.parent}:{os.environ['PATH']}", "PACKAGE": package}
    return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


def test_the_image_has_what_its_steps_install() -> None:
    sources, target = copied()
    assert target.endswith("/")
    (looked_for,) = re.findall(r"/\S*\.whl", installing())
    assert looked_for.startswith(target), "what is installed is copied before"
    wheel = "quarterdeck-0.1.0-py3-none-any.whl"
    assert fnmatch.fnmatch(wheel, Path(looked_for).name) and any(fnmatch.fnmatch(wheel, name) for name in sources)
    assert any((DEPLOY / name).is_file() for name in sources), "a pattern that matches nothing ends a build"
    order = [
        name for name, rest in instructions() if name == "COPY" or "pip install" in rest or rest.startswith("PACK")
    ]
    assert order == ["ARG", "COPY", "RUN"]


def test_what_is_secret_does_not_enter_the_image() -> None:
    """The folder holds keys by then."""
    lines = [line for line in (DEPLOY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines[1:]} == set(copied()[0])


@pytest.mark.parametrize(
    ("wheels", "package", "installed"),
    [
        (["quarterdeck-0.1.0-py3-none-any.whl"], "", "{wheels}/quarterdeck-0.1.0-py3-none-any.whl[postgres]"),
        ([], "quarterdeck[postgres]==0.1.0", "quarterdeck[postgres]==0.1.0"),
        (["quarterdeck-0.1.0-py3-none-any.whl"], "./fork[postgres]", "./fork[postgres]"),
    ],
)
def test_the_wheel_beside_the_file_is_installed_or_what_was_asked_for(
    tmp_path: Path, wheels: list[str], package: str, installed: str
) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in (*wheels, "Dockerfile"):
        (folder / name).touch()
    done = install(folder, package)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["install", "--no-cache-dir", installed.format(wheels=folder)]


@pytest.mark.parametrize("wheels", [[], ["quarterdeck-0.1.0-py3-none-any.whl", "quarterdeck-0.2.0-py3-none-any.whl"]])
def test_an_image_without_one_wheel_is_not_made_and_says_what_to_do(tmp_path: Path, wheels: list[str]) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in wheels:
        (folder / name).touch()
    done = install(folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "make image-wheel" in done.stderr


def test_the_steps_on_top_lead_there() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    steps = re.findall(r"^#   (\S.*?)(?:   .*)?$", text, re.MULTILINE)
    assert steps.index("make image-wheel") < steps.index("cd deploy") < steps.index("docker compose build")
    every = yaml.safe_load(text)
    for service in services().values():
        assert (DEPLOY / service["build"]["context"]).resolve() == DEPLOY
        assert set(service["build"]["args"]) == {
            rest.partition("=")[0] for name, rest in instructions() if name == "ARG"
        }
    assert every["x-quarterdeck"]["build"] == services()["server"]["build"]


def test_the_target_puts_the_wheel_where_the_image_looks(tmp_path: Path) -> None:
    """The newest one alone, in a copy of the tree in which it is built already."""
    rule = re.search(r"^image-wheel:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None
    (tmp_path / "deploy").mkdir()
    (tmp_path / "dist").mkdir()
    (tmp_path / "deploy" / "quarterdeck-0.0.1-py3-none-any.whl").touch()
    for age, version in ((200, "0.9.0"), (100, "0.10.0")):
        made = tmp_path / "dist" / f"quarterdeck-{version}-py3-none-any.whl"
        made.touch()
        os.utime(made, (1_000_000 - age, 1_000_000 - age))
    for line in rule[1].splitlines():
        subprocess.run(["sh", "-ec", line.strip().removeprefix("@").replace("$$", "$")], cwd=tmp_path, check=True)
    assert [path.name for path in (tmp_path / "deploy").iterdir()] == ["quarterdeck-0.10.0-py3-none-any.whl"]
