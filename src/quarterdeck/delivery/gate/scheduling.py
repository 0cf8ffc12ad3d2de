"""Which checks of merged trees are started, and which are dropped. Pure.

Rules
- What is wanted and running already goes on; so does what a decision found useful. Every other check is dropped.
- What is proven, or is the tip, is checked first. There are never more checks than slots.
- While checks cannot be run, new ones wait for the pause to end.
"""

from collections.abc import Iterator

from quarterdeck.delivery.gate.ledger import Key
from quarterdeck.delivery.gate.orders import Command, DropCheck, Wait
from quarterdeck.delivery.gate.stacks import Work


def schedule(work: Work) -> Iterator[Command]:
    """Drop the checks that nobody wants to know about any more, start as many wanted ones as there is room for."""
    state, view = work.board.state, work.board.view
    useful = {started.check for started in work.going}
    going: set[Key] = set()
    for check, started in state.running.items():
        key = (started.tree, started.checks)
        if (check in useful or key in work.wanted) and key not in going:
            going.add(key)
        else:
            yield DropCheck(check)
    missing = [start for key, start in work.wanted.items() if key not in going]
    missing.sort(key=lambda start: not work.board.proven.issuperset(start.stack))  # what lands, and the tip, first
    room = max(0, view.slots - len(going))
    if not missing[:room]:
        return
    if state.trouble is not None and (delay := state.trouble.due(view.now)) > 0:
        yield Wait(delay)
        return
    yield from missing[:room]
