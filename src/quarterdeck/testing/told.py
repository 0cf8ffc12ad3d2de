"""How an agent of a test, which is a few lines of Python, reads what it is told.

Rules
- As by `json`, which takes as long to load as all else that such an agent does; there are thousands of them.
- Needs nothing but CPython's standard library: agents run it with `python3 -IS -c`.
"""

from typing import Final

READS: Final = (
    "import sys; from _json import make_scanner; "
    "how=type('How',(),dict.fromkeys(['object_hook','object_pairs_hook','array_hook'])|dict(strict=True,parse_float=float,"
    "parse_int=int,parse_constant=float)); d=make_scanner(how)(sys.stdin.read(),0)[0]; "
)
"""Statements on one line, after which `d` is what standard input holds as JSON."""
