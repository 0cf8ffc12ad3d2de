"""What we read and did not write is read in a time in proportion to its length: an expression that begins anew at each
blank line, quote or digit would stand still for hours over a file of a few hundred kilobytes, and with it the deck.

The bounds are seconds of this thread's own computing: several times what such a text takes, and a small part of what it
took before, so that neither a busy machine fails them nor a text that is searched again and again passes.
"""

import re
import time
from collections.abc import Callable, Iterator

import pytest

from quarterdeck.agents.glancing import glance
from quarterdeck.agents.touching import changed
from quarterdeck.delivery.validation.builds import same_build
from quarterdeck.delivery.validation.commands import ran_no_test
from quarterdeck.delivery.validation.runners import RUNNERS, Runner
from quarterdeck.delivery.validation.survey.formatting import Effort, formatting
from quarterdeck.delivery.validation.survey.imports import known
from quarterdeck.delivery.validation.survey.options import narrows
from quarterdeck.delivery.validation.survey.places import Places
from quarterdeck.delivery.validation.survey.tests import find_tests
from quarterdeck.kernel.toml import read_toml
from quarterdeck.merge.nesting import surely_flat
from quarterdeck.merge.python_tree import logical
from quarterdeck.settings.files import line_of


def computing(work: Callable[[], object]) -> float:
    """Seconds that it took this thread."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


OUTPUT = {
    "blank lines": "a" + "\n" * 20_000 + "b",
    "lines of space": " \n" * 10_000,
    "digits": "Summary " + "1" * 20_000,
    "totals of digits": "Tests: " + "1" * 20_000,
    "open brackets": "Ran 1 test in 0s\n" + "OK (\n" * 10_000,
    "open brackets of deno": "ok | 1 passed (\n" * 10_000,
    "marks": "=" * 20_000,
    "words": "1 a" * 8_000,
    "one count after the other": "1 passed, " * 4_000,
    "names": "--- a\n" * 5_000,
    "escapes": "\x1b[" * 10_000,
}


@pytest.mark.parametrize("name", OUTPUT)
@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
def test_a_runners_output(runner: Runner, name: str) -> None:
    assert computing(lambda: runner.executed(OUTPUT[name])) < 0.1


@pytest.mark.parametrize("name", OUTPUT)
def test_all_of_an_output_that_is_looked_at(name: str) -> None:
    """At its full length, behind a launcher that may hide any runner."""
    whole = OUTPUT[name] * (512 * 1024 // len(OUTPUT[name]))
    assert computing(lambda: ran_no_test("make", 0, whole)) < 4


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
@pytest.mark.parametrize("text", ["Ran {} tests in 1s", "{} passed in 1s", "# tests {}", "OK ({} tests)", "{} passing"])
def test_a_number_that_nobody_can_have_counted(runner: Runner, text: str) -> None:
    """It is none, and above all no error."""
    assert runner.executed(text.format("9" * 5_000)) in (0, None)


LATER = "x = 1\n"


def records(by: int) -> str:
    """A regenerated file: many lines that are all over it, and none of the others as it was."""
    return "".join(f'{{\n"id": {n * by + by},\n"name": "{n}{by}",\n"tags": []\n}},\n' for n in range(1_100))


READERS: dict[str, Callable[[], object]] = {
    "blank lines of a configuration": lambda: narrows("pytest.ini", "", "[pytest]\n" + "\n" * 20_000 + LATER),
    "blank lines of a source": lambda: known({"a.py": "\n" * 20_000 + LATER}),
    "dots of an import": lambda: known({"a.py": "from " + "." * 20_000}),
    "blank lines where names are bound": lambda: Places({"a.py": "\n" * 20_000 + LATER}).lacks("a", "b"),
    "attributes of a Rust test": lambda: find_tests("a.rs", "#[test]\n" * 4_000),
    "blocks of Go before what skips": lambda: find_tests(
        "a_test.go", "".join(f"func Test{n}(t T) {{{'{' * 4_000}{'t.Skip()' * 700}{'}' * 4_001}\n" for n in range(9))
    ),
    "tests without an end": lambda: find_tests("a.test.js", "".join(f"it('{n}'(" for n in range(20_000))),
    "open tags of Maven": lambda: same_build("pom.xml", b"<dependencies><scm>" * 10_000, b"<version>" * 20_000),
    "a long line of Gradle": lambda: same_build("build.gradle", b"a" * 40_000, b"implementation '" + b"a:" * 20_000),
    "a list of Gradle": lambda: same_build("settings.gradle", b"", b"include " + b"'a'," * 10_000 + b"("),
    "names in a string of Gradle": lambda: same_build("build.gradle", b"", b'implementation "' + b"$aa" * 25),
    "space of Gradle": lambda: same_build("build.gradle", b"", b"version" + b" " * 40_000 + b"x"),
    "space between modules": lambda: same_build("settings.gradle", b"", b"include" + b" " * 40_000 + b"x"),
    "open comments": lambda: formatting("a.js", "a\n" + "/* " * 20_000, "a \n" + "/* " * 20_000),
    "open quotes": lambda: formatting("a.js", "a\n`" + "\\`" * 20_000, "a \n`" + "\\`" * 20_000),
    "escaped quotes of Python": lambda: surely_flat("'" + "\\'" * 20_000),
    "escaped quotes, word by word": lambda: logical("'" + "\\'" * 20_000),
    "a key of letters": lambda: line_of("a" * 400, ["b"]),
    "a header of space": lambda: line_of("[" + " " * 20_000, ["b"]),
    "a key of quotes": lambda: line_of('"' * 20_000, ["b"]),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_an_agent_may_have_written(name: str) -> None:
    def read() -> object:
        found = READERS[name]()
        return list(found) if isinstance(found, Iterator) else found

    assert computing(read) < 0.4


BEGINS = {
    "build.gradle": ('implementation "', "api(", "version ", "version = '", "def a_version = '", "// ", "id 'a' ", "a"),
    "settings.gradle": ("include ", "include('a'", "rootProject.name "),
    "pom.xml": ("<dependencies>", "<version>", "<a.version>", "<scm><name>", ""),
}
AGAIN = (
    "$a",
    "$aa",
    "${a}",
    "a",
    " ",
    "\t ",
    "'",
    '"',
    "'a',",
    "a:",
    "(",
    ")",
    ".",
    "/",
    "-->",
    "<!",
    "<scm>",
    "<version>",
)


@pytest.mark.parametrize("path", BEGINS)
def test_whatever_stands_again_and_again_in_a_file_of_a_build(path: str) -> None:
    """First a few times, or what takes twice as long for each would never end; then very often."""
    for begin in BEGINS[path]:
        for again in AGAIN:
            for times, seconds in ((22, 0.1), (8_000, 0.1)):
                data = f"{begin}{again * times}(\n".encode()
                assert computing(lambda: same_build(path, b"", data)) < seconds, (begin, again, times)  # noqa: B023 - called at once


def test_a_file_that_was_made_anew_is_compared_for_a_while_and_all_of_a_change_for_some_time() -> None:
    """Not for a cube of its length: that would be minutes for this one."""
    old, new = records(1), records(7)
    assert computing(lambda: formatting("a.json", old, new)) < 4
    assert computing(lambda: formatting("a.md", old, new)) < 0.1
    effort = Effort(1_000_000)
    assert computing(lambda: [formatting("a.json", old, new, effort) for _ in range(30)]) < 4


SOURCES = {
    "one formatted string": "x = f'" + "{a}" * 20_000 + "'\n",
    "a longer one": "x = f'" + "{a}" * 64_000 + "'\n",
    "statements on one line": "".join(f"a{n % 7}=1;" if n % 500 else "f(1)\n" for n in range(20_000)),
    "headers": "class A:\n" + " def a(): 0\n" * 20_000,
    "expressions": "a<b\n" * 100_000,
    "lists": "[]\n" * 100_000,
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("look", [changed, glance])
def test_a_source_that_is_looked_at_beside_everything_else(look: Callable[..., object], name: str) -> None:
    """The compiler holds every thread of the process while it reads: that must be short."""
    assert computing(lambda: look("a.py", SOURCES[name], "y = 1\n")) < 0.6
    assert computing(lambda: look("a.py", "y = 1\n", SOURCES[name])) < 0.6


def test_a_key_of_very_many_parts_is_refused_before_it_is_read() -> None:
    assert read_toml("[a.b]\nc.'d'.\"e\" = 1\n") == {"a": {"b": {"c": {"d": {"e": 1}}}}}
    text = "x = 1\n" + "a." * 50_000 + "a = 1\n"
    began = time.thread_time()
    with pytest.raises(ValueError, match=re.escape("a key of more than 64 parts (at line 2)")):
        read_toml(text)
    assert time.thread_time() - began < 0.4
    words = f'text = "{". ".join(["Word"] * 60)}"\n'
    assert read_toml(words)["text"].startswith("Word. Word")
