"""Which test runners a shell command starts, so that "nothing was tested" is not taken for "everything passed".

Rules
- A recognised runner that executed no test is a failure, whatever its exit status: an empty selection, an empty
  directory, or nothing but skipped tests.
- Two things must agree: the command starts a runner that we know (also behind `python -m`, `uv run`, `env`,
  `sh -c "…"` and the like), and the output says that no test ran.
- Silence is evidence only of a runner that is never silent, whose output goes nowhere else, and that no condition keeps
  from being started: what it loaded ended the process before any test, with an exit status of 0. Noise does not break
  it: a summary is the last that a runner says, and the end of its output is kept.
- Where pytest had to write a report, that counts and not what was printed: no report is silence.
- Launchers that hide the runner (`make`, `npm test`, `tox`, a script of the repository, …) are judged by the output
  alone, and only when no runner in it reports an executed test.
- Linters, type checkers and builds are nobody's business here.
"""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from quarterdeck.delivery.validation.runners import (
    BUN,
    CARGO,
    CTEST,
    DENO,
    DOTNET,
    GO,
    JAVASCRIPT,
    MAVEN,
    MOCHA,
    NODE,
    PHPUNIT,
    PYTEST,
    RSPEC,
    RUNNERS,
    UNITTEST,
    Runner,
    plain,
)

_SEPARATORS: Final = frozenset(
    {"&&", "||", ";", "|", "&", "(", ")", ";;", "|&", "\n", "{", "}", "!"}
    | {"if", "then", "elif", "else", "while", "until", "do"}
)
_ASSIGNMENT: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*=")
_PYTHON: Final = re.compile(r"^(python|pypy)[0-9.]*$")
SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_LAUNCHERS: Final = frozenset(
    {"make", "gmake", "ninja", "tox", "nox", "just", "task", "invoke", "rake", "gradle", "gradlew", "meson", "bazel"}
    | {"npm", "pnpm", "yarn", "bun", "hatch", "pdm"}
)
_PREFIXES: Final = frozenset(
    {"env", "exec", "command", "time", "nice", "nohup", "stdbuf", "xvfb-run"} | {"sudo", "setsid", "ionice", "xargs"}
)
_FETCHERS: Final = frozenset({"npx", "bunx", "uvx"})
"""What runs a program of a package that it fetches first, in a version that may be named: `npx jest@29`."""
_RUN_WRAPPERS: Final = frozenset({"uv", "pipx", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi", "conda"})
_WITH_VALUE: Final = frozenset(
    (
        "--with",
        "--from",
        "--spec",
        "--extra",
        "--group",
        "--python",
        "-p",
        "--package",
        "--project",
        "--directory",
        "--env-file",
        "-n",
        "-e",
    )
)
"""Options of what runs something in an environment that take another word."""
_VALUES: Final[Mapping[str, frozenset[str]]] = {
    "timeout": frozenset(("-k", "--kill-after", "-s", "--signal")),
    "env": frozenset(("-u", "--unset", "-C", "--chdir")),
    "time": frozenset(("-f", "--format", "-o", "--output")),
    "nice": frozenset(("-n", "--adjustment")),
    "stdbuf": frozenset(("-i", "--input", "-o", "--output", "-e", "--error")),
    "exec": frozenset(("-a",)),
    "xvfb-run": frozenset(("-n", "--server-num", "-s", "--server-args", "-f", "--auth-file", "-e", "--error-file")),
    "sudo": frozenset(("-u", "--user", "-g", "--group", "-C", "-D", "--chdir", "-h", "-p", "-T")),
    "ionice": frozenset(("-c", "--class", "-n", "--classdata")),
    "xargs": frozenset(("-a", "--arg-file", "-d", "-E", "-I", "-L", "-n", "--max-args", "-P", "--max-procs", "-s")),
    "flock": frozenset(("-E", "--conflict-exit-code", "-w", "--timeout", "--wait")),
}
"""The same of what only stands before a command; of anything else, those above."""
_FLAG: Final = re.compile(r"-[qvxslb]+|-r\w+|--[a-z-]+=\S*|--(?:quiet|verbose|exitfirst|failfast|buffer|no-header)")
"""Options of pytest and unittest that take no other word."""
_ELSEWHERE: Final = re.compile(r"[*?$~\[]|\.\.|(?<!\S)-C\b|--(?:directory|project|chdir|cwd|rootdir|pyargs)\b")
"""What may make a path mean something else than it says."""
_VALUED: Final = frozenset({"--group", "--extra", "--with", "--python", "--only-group", "-X", "-W", "-n"})
_STAYS: Final = re.compile(
    r"(?!(?:UV|POETRY|PIPENV|RYE)_)[A-Za-z_]\w*=.*|\d[\d.]*[smhd]?|--?|-[aBEIOqsuv]+|-m"
    r"|env|exec|command|time|nice|nohup|timeout|uv|poetry|pipenv|rye|coverage|run"
    r"|--(?:frozen|locked|offline|no-sync|no-dev|dev|all-extras|all-groups|isolated|exact|quiet|no-interaction)"
    r"|--(?:branch|append|parallel-mode|timid)|--(?:source|omit|include|rcfile|context|group|extra|with|python)=.*",
    re.DOTALL,
)
"""What may stand before a runner and leaves it where it is; the value of an option of `_VALUED` as well."""
ONLY_ASKS: Final = frozenset({"--version", "-V", "--help", "-h", "--collect-only", "--co", "--fixtures", "--markers"})

_DIVERTS: Final = re.compile(r"[|<>`$]|(?<!&)&(?!&)|no:terminal|(?<!\S)(?:if|case|xargs)(?!\S)")
"""What may keep a runner from running, or its output from us."""
_END: Final = re.compile(
    r"^(?:=+ .*\bin [\d.:]+ ?s\b.*=|Results \()|\d (?:passed|failed|xfailed|xpassed)\b", re.MULTILINE
)
"""A summary, in the words of pytest or of a plugin of it."""
_TAIL: Final = 2_000
"""Characters at the end of pytest's output in which its summary would be."""
_HEADER: Final = re.compile(r"^=+ test session starts =+$", re.MULTILINE)
_NOISE: Final = 60_000
"""Characters of output in which what follows a runner may have pushed its summary out."""
_QUIETEST: Final = re.compile(r"(?<!\S)-[a-z]*q[a-z]*q|(?<!\S)-q\b.*\s-q\b")
"""With which pytest says nothing at its end."""

_BY_NAME: Final = {
    "pytest": PYTEST,
    "py.test": PYTEST,
    "unittest": UNITTEST,
    "jest": JAVASCRIPT,
    "vitest": JAVASCRIPT,
    "mocha": MOCHA,
    "ctest": CTEST,
    "rspec": RSPEC,
    "phpunit": PHPUNIT,
}
_BY_VERB: Final = {
    ("go", "test"): GO,
    ("cargo", "test"): CARGO,
    ("cargo", "t"): CARGO,
    ("cargo", "nextest"): CARGO,
    ("manage.py", "test"): UNITTEST,
    ("dotnet", "test"): DOTNET,
    ("bun", "test"): BUN,
    ("deno", "test"): DENO,
}


def ran_no_test(
    command: str, exit_code: int | None, output: str, *, reported: int | None = None, due: bool = False
) -> str:
    """Why this finished command counts as "executed no test"; "" = it does not.

    `command` is what was given to `sh -c`, `output` its stdout and stderr together. `reported`: how many tests pytest's
    own report says were executed, None = there is none; `due`: there had to be one.
    """
    text = plain(output)
    found, hidden = recognise(command)
    for runner in found:
        count = reported if runner is PYTEST and reported is not None else runner.executed(text)
        if exit_code is not None and exit_code == runner.empty_exit and count in (0, None):
            return f"{runner.name} executed no test (exit {exit_code})"
        if count == 0:
            return f"{runner.name} executed no test"
        lost = runner is PYTEST and due and reported is None
        if exit_code == 0 and (lost or (count is None and _fell_silent(runner, command, text))):
            return f"{runner.name} executed no test: it ended without saying that any ran"
    if hidden and not found:
        said = [(runner, count) for runner in RUNNERS if (count := runner.executed(text)) is not None]
        if said and not any(count for _, count in said):
            return f"{said[0][0].name} executed no test"
    return ""


def _fell_silent(runner: Runner, command: str, text: str) -> bool:
    """Whether a runner that says nothing about tests would have said something."""
    if _DIVERTS.search(command) or (len(text) > _NOISE and not _comes_last(runner, command)):
        return False
    if runner is UNITTEST and "manage.py" not in command:
        return True
    if runner is PYTEST and _HEADER.search(text) and not _QUIETEST.search(command) and not _END.search(text[-_TAIL:]):
        return True
    return runner in (PYTEST, UNITTEST, GO, CARGO) and not text.strip()


def _comes_last(runner: Runner, command: str) -> bool:
    *_, last = _simple_commands(command)
    rest = _unwrap(last)
    return bool(rest) and _runner(PurePosixPath(rest[0]).name, rest) is runner


def recognise(command: str) -> tuple[tuple[Runner, ...], bool]:
    """The runners that a shell command starts, in order, and whether it starts something that may hide one."""
    started = list(_started(command))
    return tuple(dict.fromkeys(runner for runner in started if runner is not None)), None in started


def once(command: str, runner: Runner) -> bool:
    """Whether the words of a shell command start this runner one time, and nothing after it that may start it again.

    A loop starts what its words name as often as it likes.
    """
    started = list(_started(command, asks=True))
    return started.count(runner) == 1 and None not in started[started.index(runner) :] and runner in _started(command)


def _started(command: str, *, asks: bool = False) -> Iterator[Runner | None]:
    """The runners that a shell command starts, in order and each time, and None for what may hide one.

    `asks`: also those that are only asked something.
    """
    for rest in plain_commands(command):
        if not asks and ONLY_ASKS.intersection(rest[1:]):
            continue
        name = PurePosixPath(rest[0]).name
        if name in SHELLS:
            inner = _inside_shell(rest)
            yield from [None] if inner is None else _started(inner, asks=asks)
        elif (runner := _runner(name, rest)) is not None:
            yield runner
        elif name in _LAUNCHERS or _is_script(rest[0]):
            yield None


def sole(command: str) -> bool:
    """Whether the shell line is one plain command: what is put behind it becomes an argument of it."""
    simple = list(_simple_commands(command))
    if len(simple) != 1 or re.search(r"[;|&()<>#`\n]", command):
        return False
    rest = _unwrap(simple[0])
    return bool(rest) and PurePosixPath(rest[0]).name not in SHELLS | (_LAUNCHERS - {"bun"})


def stays(command: str) -> bool:
    """Whether the first plain command of a shell line is, as far as its wrappers go, run in the folder of the shell."""
    simple = next(_simple_commands(command), [])
    around = iter(simple[: len(simple) - len(_unwrap(simple))])
    for word in around:
        if word in _VALUED:
            next(around, None)
            continue
        name = word if word.startswith("-") or "=" in word else PurePosixPath(word).name
        if not _STAYS.fullmatch(name) and not _PYTHON.match(name):
            return False
    return True


def words(command: str) -> list[str]:
    """The words of the first plain command of a shell line, without what only wraps it; empty where there is none."""
    simple = next(_simple_commands(command), [])
    return _unwrap(simple)


def plain_commands(command: str) -> Iterator[list[str]]:
    """The plain commands of a shell line, each without what only wraps it."""
    yield from filter(None, map(_unwrap, _simple_commands(command)))


def runs_tests(words: Sequence[str]) -> bool:
    """Whether a plain command is a test runner that we know."""
    return _runner(PurePosixPath(words[0]).name, words) is not None


def covers(command: str, path: str) -> bool:
    """Whether this command may run the tests of that Python file; only what is sure not to do so does not."""
    simple = list(_simple_commands(command))
    rest = _unwrap(simple[0]) if simple else []
    runner = _BY_NAME.get(PurePosixPath(rest[0]).name) if rest else None
    if runner not in (PYTEST, UNITTEST) or not sole(command) or _ELSEWHERE.search(command):
        return True
    given = [word for word in rest[1:] if not _FLAG.fullmatch(word)]
    if not given or any(word.startswith(("-", "/")) for word in given) or "discover" in given:
        return True
    if runner is PYTEST:
        chosen = [PurePosixPath(word.partition("::")[0]) for word in given]
        return any(PurePosixPath(path).is_relative_to(each) for each in chosen)
    module = PurePosixPath(path).with_suffix("").parts
    modules = [tuple(word.removesuffix(".py").replace("/", ".").split(".")) for word in given]
    tails = [module[at:] for at in range(len(module))]  # from which folder it is imported is not known here
    return any(each[: len(tail)] == tail[: len(each)] for each in modules for tail in tails)


def _inside_shell(argv: Sequence[str]) -> str | None:
    """The shell command in an argument of a shell."""
    for at, word in enumerate(argv[1:], start=1):
        if word.startswith("-") and word.endswith("c") and at + 1 < len(argv):
            return argv[at + 1]
    return None


def _runner(name: str, argv: Sequence[str]) -> Runner | None:
    if name in _BY_NAME:
        return _BY_NAME[name]
    arguments = argv[1:]
    if name in ("node", "tsx") and "--test" in arguments:
        return NODE
    verbs = [word for word in arguments if not word.startswith(("-", "+"))]
    if name in ("mvn", "mvnw"):
        return MAVEN if {"test", "verify"}.intersection(verbs) else None
    return _BY_VERB.get((name, verbs[0])) if verbs else None


def _is_script(word: str) -> bool:
    """Whether the first word of a command names a file of the repository."""
    return word.endswith((".sh", ".py")) or ("/" in word and not word.startswith("/"))


def _simple_commands(command: str) -> Iterator[list[str]]:
    """The simple commands of a shell line. What cannot be parsed yields nothing: no evidence, no verdict."""
    lexer = shlex.shlex(command.replace("\n", " ; "), posix=True, punctuation_chars="();|&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    current: list[str] = []
    try:
        words = list(lexer)
    except ValueError:
        return
    for word in words:
        if word in _SEPARATORS or set(word) <= set("();|&"):
            if current:
                yield current
            current = []
        else:
            current.append(word)
    if current:
        yield current


def _unwrap(argv: Sequence[str]) -> list[str]:
    """The argv without what only wraps it: assignments, `env`, `timeout 5`, `uv run`, `python -m`, and the like. What
    is told a line is a shell that is."""
    rest = list(argv)
    while rest:
        name = PurePosixPath(rest[0]).name
        if _ASSIGNMENT.match(rest[0]):
            rest = rest[1:]
        elif name == "timeout":
            rest = _options_off(rest[1:], _VALUES[name])[1:]
        elif name == "flock":  # its file, then a command or `-c LINE`
            rest = _options_off(rest[1:], _VALUES[name])[1:]
            rest = ["sh", "-c", *rest[1:]] if rest[:1] in (["-c"], ["--command"]) else rest
        elif name == "eval":
            return ["sh", "-c", " ".join(rest[1:])]
        elif name in _PREFIXES:
            rest = _options_off(rest[1:], _VALUES.get(name, _WITH_VALUE))
        elif name in _FETCHERS:
            rest = _any_version(_options_off(rest[1:]))
        elif name in _RUN_WRAPPERS and "run" in rest[1:]:
            rest = _options_off(rest[rest.index("run") + 1 :])
        elif name in {"pnpm", "yarn", "npm", "bundle"} and rest[1:2] in (["exec"], ["dlx"]):
            rest = _any_version(_options_off(rest[2:]))
        elif name == "coverage" and rest[1:2] == ["run"]:
            rest = _module(rest[2:])
        elif _PYTHON.match(name):
            rest = _module(rest[1:])
        else:
            return rest
    return rest


def _any_version(words: list[str]) -> list[str]:
    """`jest@29 …` as `jest …`; a scope stays (`@angular/cli`)."""
    return [word[:1] + word[1:].partition("@")[0] for word in words[:1]] + words[1:]


def _options_off(words: list[str], valued: Collection[str] = _WITH_VALUE) -> list[str]:
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if words[at] == "--":
            return words[at + 1 :]
        at += 2 if words[at] in valued else 1
    return words[at:]


def _module(words: list[str]) -> list[str]:
    """What `python WORDS` runs: `-m NAME …` or `SCRIPT …`; the module `unittest` gets its runner's name."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if words[at] == "-m" and at + 1 < len(words):
            module = words[at + 1]
            return ["unittest" if module.startswith("unittest") else module, *words[at + 2 :]]
        if words[at] == "-c":
            return []
        at += 2 if words[at] in {"-X", "-W"} else 1
    return words[at:]
