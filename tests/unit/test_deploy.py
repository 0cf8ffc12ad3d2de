"""The compose file starts what there is: its commands can be given, and its files lie where a deck looks for them."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from quarterdeck.cli import up, worker
from quarterdeck.settings import load_settings, operator_outside

DEPLOY = Path(__file__).parents[2] / "deploy"
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
