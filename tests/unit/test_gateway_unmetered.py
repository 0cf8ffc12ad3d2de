"""What cannot be metered: each rule is asked only where a field that it names stands in the request."""

from typing import Any

import pytest

from quarterdeck.gateway.unmetered import _RULES
from quarterdeck.gateway.wires import Asked, Operation, Place, Wire


class _Watched(dict[str, Any]):
    """A request's body that keeps which of its fields were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_for = set[str]()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked_for.add(key)
        return super().get(key, default)


@pytest.mark.parametrize("wire", Wire)
def test_a_rule_names_all_fields_that_it_reads(wire: Wire) -> None:
    """One that it did not name could stand in a request alone, and nobody would look at it."""
    for names, rule in _RULES:
        body = _Watched()
        asked = Asked(Place(wire, Operation.CALL, model="m"), body, b"{}")
        body.asked_for.clear()
        assert rule(asked) == ""
        assert body.asked_for <= set(names), rule.__name__
