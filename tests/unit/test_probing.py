"""What a probe of an agent can be told from its definition alone."""

from pathlib import Path

import pytest

from quarterdeck.cli.probing import own_file
from quarterdeck.kernel.entities import Agent, Harness


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("python3", "tools/apply.py"), "tools/apply.py"),
        (("tools/apply.py", "--all"), "tools/apply.py"),
        (("python3", "tools"), None),
        (("formatter", "--write", "."), None),
        (("sh", "-c", f"echo {'x' * 5_000} > a.txt"), None),
    ],
)
def test_the_file_of_the_repository_that_a_command_needs(
    tmp_path: Path, command: tuple[str, ...], named: str | None
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "apply.py").touch()
    agent = Agent(name="patcher", description="It patches.", harness=Harness.COMMAND, command=command)
    assert own_file(agent, tmp_path) == named
