"""The plain policy: listed tools, protected paths, and errors that deny."""

from typing import Any, Literal

import pytest

from quarterdeck.govern.policy import DefaultPolicy, decide_safely, protected
from quarterdeck.govern.port import Action, Decision


def _action(
    tool: str = "write",
    effect: Literal["read", "write", "execute", "control"] = "write",
    agent: str = "implementer",
    **arguments: Any,
) -> Action:
    return Action("r", "t", "r.t.1", agent, tool, arguments, effect)


_POLICY = DefaultPolicy({"implementer": None, "reviewer": frozenset({"read", "submit"})})


def test_tools_off_the_list_are_denied_with_the_rule() -> None:
    decision = _POLICY.decide(_action(agent="reviewer", path="a"))
    assert (decision.verdict, decision.rules) == ("deny", ("tool-listed",))
    assert "read, submit" in decision.reason
    assert _POLICY.decide(_action("read", "read", agent="reviewer", path="a")).verdict == "allow"
    assert _POLICY.decide(_action(agent="stranger")).rules == ("agent-known",)


@pytest.mark.parametrize(
    ("path", "by"),
    [
        (".git", ".git"),
        (".git/config", ".git"),
        ("a/../.git/hooks/x", ".git"),
        ("./sub/.git/config", ".git"),
        (".GIT/config", ".git"),
        ("/workspace/.git/config", ".git"),
        ("/workspace//.quarterdeck/deck.toml", ".quarterdeck"),
        (".quarterdeck", ".quarterdeck"),
        ("x/../.Quarterdeck/deck.toml", ".quarterdeck"),
        ("sub/.quarterdeck/x", None),
        (".github/workflows/ci.yml", None),
        (".gitignore", None),
        ("src/git.py", None),
        ("/tmp/x", None),
    ],
)
def test_protected_paths(path: str, by: str | None) -> None:
    assert protected(path) == by
    verdict = "deny" if by else "allow"
    assert _POLICY.decide(_action(path=path)).verdict == verdict
    assert _POLICY.decide(_action(paths=["ok", path])).verdict == verdict
    assert _POLICY.decide(_action("read", "read", path=path)).verdict == "allow"


def test_an_error_in_deciding_is_a_denial() -> None:
    class Broken:
        def decide(self, action: Action) -> Decision:
            raise LookupError("no such principal")

    decision = decide_safely(Broken(), _action())
    assert (decision.verdict, decision.rules) == ("deny", ("policy-error",))
    assert "no such principal" in decision.reason
    assert decide_safely(_POLICY, _action(path="a")) == Decision("allow", ("default",))
