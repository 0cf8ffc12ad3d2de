"""The deck.toml that a repository brings.

Rules
- Declared: BadConfiguration, which says what and how to mend it. Any other exception is a bug.
- What was read can be stored, and is read back as the same.
"""

from collections.abc import Sequence

from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.settings.files import decode_text, line_of, parse_deck_toml

INSTRUMENTED = ("quarterdeck.settings.files", "quarterdeck.kernel")
WORDS = (
    *("[checks]\n", "gate = [", "[limits]\n", "attempts = ", "[budget]\n", "run = ", "[sandbox]\n", "setup = [", '"'),
    *(
        "[validation]\n",
        'new_tests = "warn"\n',
        "[review]\n",
        "agent = ",
        "[prices.a]\n",
        "[[triggers]]\n",
        "'''",
        '"""',
    ),
    *(
        "a.b.",
        "a . b",
        '"a b"',
        "\\u",
        "\\ud800",
        "nan",
        "-inf",
        "1e999",
        "0x",
        "1979-05-27",
        "\r\n",
        "\x00",
        "# ",
        " = ",
    ),
    *("{a = {", "[[[[", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", '"""""""', "[" + " " * 40, "9" * 40),
)
_ORIGIN = "deck.toml of the repository"


def one(data: bytes) -> None:
    """Read it, with a part of it that repeats, as nobody would write it."""
    head, mark, rest = data.partition(b"\0")
    text_bytes = head if not mark else head + rest * (20_000 // max(1, len(rest)))
    try:
        text = decode_text(text_bytes, _ORIGIN)
    except BadConfiguration as error:
        assert error.fix
        return
    line_of(text, ["checks", "gate"])
    try:
        partial = parse_deck_toml(text, _ORIGIN)
    except BadConfiguration as error:
        assert error.fix
        str(error).encode()
        return
    written = partial.config.model_dump_json(exclude_unset=True)
    assert DeckConfig.model_validate_json(written) == partial.config, "read back it is another configuration"


def seeds() -> Sequence[bytes]:
    """Sections of each kind, right and wrong, and what repeats."""
    found = [
        '[checks]\ngate = ["pytest -q"]\ntimeout = "5m"\n\n[limits]\nattempts = 2\nwall = "30m"\n',
        '[budget]\nrun = 1.5\n[validation]\nnew_tests = "warn"\n[review]\nagent = "reviewer"\n',
        '[sandbox]\nsetup = ["true"]\nnetwork = "none"\nmemory_mb = 512\n',
        "[checks]\ngat = []\n",
        "[checks]\ngate = 3\n",
        'checks.gate = ["a"]\n"limits" . attempts = 1\n',
        "[[checks]]\na = {b = {c = [1, 2]}}\n",
        "x = 1\n\0a",
        "x = 1\n\0a.",
        "x = '''\n\0\n",
        "[\0 ",
        "x = 1\n\0[a]\n",
    ]
    return [text.encode() for text in found]
