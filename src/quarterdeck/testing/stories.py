"""Events of a made-up run, for tests to which only some of their fields matter."""

from typing import Final

from quarterdeck.kernel import events as e

_BLOB: Final = "a" * 64
"""A digest of nothing in particular."""

_CREATED: Final = {
    "goal": "the goal",
    "goal_blob": _BLOB,
    "repository": "/repo",
    "target": "t",
    "base": "0" * 40,
    "into": "work",
    "config_blob": _BLOB,
    "budget_nusd": 5,
    "max_parallel": 4,
    "user": "ada",
    "sandbox": "none",
}


def created(run: str = "r-1", **fields: object) -> e.RunCreated:
    """A run was ordered. `fields`: what of it matters; the rest is made up."""
    return e.RunCreated.model_validate({**_CREATED, "run": run, **fields})
