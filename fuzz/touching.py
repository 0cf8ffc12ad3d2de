"""Files of agents that are looked at in the deck's own process, while they work and when their changes meet.

Rules
- Nothing is raised, and nobody waits long: the compiler holds every thread of the process while it reads.
- What is named fits into an event, and its lines are lines of the file.
"""

from collections.abc import Sequence

from quarterdeck.agents.glancing import glance
from quarterdeck.agents.touching import MAX_NAME, changed, event_of
from quarterdeck.kernel.events.beside import SPOTS
from quarterdeck.merge.naming import entities, touched

INSTRUMENTED = ("quarterdeck.agents.touching", "quarterdeck.agents.glancing", "quarterdeck.merge")
WORDS = (
    *("def f(a):\n", "class A:\n", "    return a\n", "if a:\n", "elif b:\n", "@a\n", "import a\n", "from . import b\n"),
    *("f'{a}'", "f'''", '"""', "\\'", "\\\n", "\\", "{a}", "a=1;", "lambda:", "not ", "(((", "[[[", "\r\n", "# a\n"),
    *("[a]\n", "## a\n", "====\n", "\u2028", "\x0c", "\ufeff", "async ", "match a:\n", "case b:\n", "a if b else "),
)
_PATHS = ("a.py", "a.md", "a.toml", "a.pyi", "a.c")
_LONGEST = 20_000
"""Characters: a second is for ten looks at it, while the fuzzer counts every branch. On the slowest machine that it ran
on they take half of that; what grows faster than the text takes more at this length too."""


def one(data: bytes) -> None:
    """Look at a file that becomes another one, at some length."""
    path = _PATHS[data[0] % len(_PATHS)] if data else _PATHS[0]
    times = 2 ** (data[1] % 16) if len(data) > 1 else 1
    before, _, after = data[2:].partition(b"\0\0")
    old = before.decode("utf-8", "replace")
    new = after.decode("utf-8", "replace")
    new *= max(1, min(times, _LONGEST // max(1, len(new))))
    for one_side, other in ((old, new), (new, old)):
        for look in (changed, glance):
            spots = look(path, one_side, other)
            assert len(spots) <= 2 * (SPOTS + 1)
            assert all(len(spot.name) <= MAX_NAME or look is glance for spot in spots)
            if look is changed and spots:
                event_of(path, spots)
        assert (touched(path, one_side, other) == ()) == (one_side == other)
    assert all(entity.first <= entity.last for entity in entities(path, new))


def seeds() -> Sequence[bytes]:
    """Edits of each kind of file, and what repeats."""
    pairs = [
        ("def f(a):\n    return a\n", "def f(a):\n    return a + 1\n\n\nclass A:\n    def g(self):\n        pass\n"),
        ("import a\nx = [1]\n", "@b\ndef g(): 0\n"),
        ("# A\n\ntext\n\n## B\n", "# A\n\nother\n\nC\n====\n"),
        ("[a]\nb = 1\n", "[a]\nb = 2\n[[c]]\n"),
        ("", "x = f'{a}{b!r:>{c}}'\n"),
        ("x = 1\n", "{a}"),
        ("x = 1\n", "a=1;"),
        ("x = 1\n", "\\'"),
        ("class A:\n", " def a(): 0\n"),
    ]
    return [
        bytes([number, times]) + old.encode() + b"\0\0" + new.encode()
        for number, (old, new) in enumerate(pairs)
        for times in (0, 13)
    ]
