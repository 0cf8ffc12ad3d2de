"""Reading one of many kinds: as its kind where that stands first, as one of all where it does not."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from quarterdeck.kernel.events import RunPaused, TaskBlocked, decode, encode

PAUSED = RunPaused(by="ada")
BLOCKED = TaskBlocked(task="a", reason="x")


@pytest.mark.parametrize("event", [PAUSED, BLOCKED])
def test_what_stands_first_does_not_matter(event: RunPaused | TaskBlocked) -> None:
    stored = encode(event)
    turned = json.dumps(dict(reversed(json.loads(stored).items())))
    spaced = json.dumps(json.loads(stored), indent=1)
    assert decode(stored) == decode(stored.decode()) == decode(turned) == decode(spaced) == event


@pytest.mark.parametrize(
    "data",
    [
        b'{"kind":"no.such"}',
        b'{"kind":"run.paused"}',
        b'{"kind":"run.paused","by":"ada","more":1}',
        b'{"kind":"run.paused","by":"ada","kind":"task.blocked"}',
        b'{"kind":"run.paused"',
        b"[]",
        b"",
        b'{"kind":"run.paused","by":"\xff"}',
        '{"kind":"run.paused","by":"\ud83d"}',
    ],
)
def test_what_is_no_event_is_refused(data: bytes | str) -> None:
    with pytest.raises(ValidationError):
        decode(data)


def test_only_what_is_read_is_made_ready() -> None:
    code = (
        "from quarterdeck.kernel import events as e\n"
        "e.decode(e.encode(e.RunPaused(by='a')))\n"
        "ready = [kind.__name__ for kind in e.EventBase.__subclasses__() if kind.__pydantic_complete__]\n"
        "assert ready == ['RunPaused'], ready\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
