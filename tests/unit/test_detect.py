"""What a repository shows about itself."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.detect import READ, Detected, detect, reading, reads
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.settings import Partial, merge

PYTEST = "python3 -m pytest -q"
DEV = b"""
[dependency-groups]
dev = [{ include-group = "lint" }]
lint = ["ruff>=0.5", "mypy", { include-group = "dev" }]
"""


def package(**scripts: str) -> bytes:
    return json.dumps({"scripts": scripts}).encode()


@pytest.mark.parametrize(
    ("files", "gate"),
    [
        ({}, ()),
        ({"README.md": None, "main.c": None}, ()),
        # Python
        ({"app.py": None}, ()),
        ({"tests/test_a.py": None, "pyproject.toml": b"[tool.pytest.ini_options]\n"}, (PYTEST,)),
        ({"tests/test_a.py": None, "setup.cfg": b"[tool:pytest]\n"}, (PYTEST,)),
        ({"tests/test_a.py": None, "tox.ini": b"[pytest]\n"}, (PYTEST,)),
        ({"tests/test_a.py": None, "pytest.ini": b""}, (PYTEST,)),
        ({"tests/test_a.py": None, "tests/conftest.py": None}, (PYTEST,)),
        ({"a/x_test.py": None, "pyproject.toml": b'[dependency-groups]\ndev = ["pytest>=8"]\n'}, (PYTEST,)),
        ({"tests/test_a.py": None}, ("python3 -m unittest discover -s tests",)),
        ({"tests/test_a.py": None, "tests/__init__.py": None}, ("python3 -m unittest discover -s tests -t .",)),
        ({"test_a.py": None}, ("python3 -m unittest discover",)),
        (
            {
                "tests/test_a.py": None,
                "pyproject.toml": DEV + b"[tool.pytest]\n[tool.ruff]\n[tool.mypy]\n",
                "src/a.py": None,
            },
            ("ruff check .", "mypy src", PYTEST),
        ),
        ({"pyproject.toml": DEV + b'[tool.mypy]\nfiles = ["a"]\n'}, ("mypy",)),
        ({"mypy.ini": None, "requirements/dev.txt": b"pytest\nmypy==1.2\n"}, ("mypy .",)),
        (
            {"ruff.toml": None, "pyproject.toml": b'[project.optional-dependencies]\ndev = ["Ruff>=0.5"]\n'},
            ("ruff check .",),
        ),
        (
            {"ruff.toml": None, "pyproject.toml": b"[tool.poetry.group.dev.dependencies]\nruff = '*'\n"},
            ("ruff check .",),
        ),
        ({"ruff.toml": None, "pyproject.toml": b'[dependency-groups]\nlint = ["ruff"]\n'}, ()),
        ({"ruff.toml": None, "Makefile": b"test:\n"}, ("make test",)),
        ({"pyproject.toml": b"[project]\nname = 'ruff-mypy-pytest'\n"}, ()),
        ({"tests/test_a.py": b"def test_it() -> None:\n    assert True\n"}, (PYTEST,)),
        ({"tests/test_a.py": b"", "tests/test_b.py": b"async def test_it():\n    pass\n"}, (PYTEST,)),
        ({"test_a.py": b"import unittest\nimport pytest\n\nclass A(unittest.TestCase): ...\n"}, (PYTEST,)),
        (
            {"test_a.py": b"import unittest\n\ndef test_suite():\n    return unittest.TestSuite()\n"},
            ("python3 -m unittest discover",),
        ),
        ({"tests/test_a.py": None, "tox.ini": b"[tox]\n"}, ("python3 -m unittest discover -s tests",)),
        # Node
        ({"package.json": package(test="vitest run")}, ("npm test",)),
        ({"package.json": package(test="jest", lint="eslint ."), "yarn.lock": None}, ("yarn run lint", "yarn test")),
        ({"package.json": package(test="jest"), "pnpm-lock.yaml": None}, ("pnpm test",)),
        ({"package.json": package(test='echo "Error: no test specified" && exit 1')}, ()),
        ({"package.json": package(build="tsc")}, ()),
        # others
        ({"Cargo.toml": b""}, ("cargo test --quiet",)),
        ({"go.mod": b""}, ("go vet ./...", "go test ./...")),
        ({"mvnw": None, "pom.xml": None}, ("./mvnw -q test",)),
        ({"Makefile": b"all:\n\ttrue\n\ntest: all\n\t./t\n"}, ("make test",)),
        ({"Makefile": b"test := x\ntesting:\n\ttrue\n"}, ()),
        ({"Makefile": b"test:\n", "Cargo.toml": b""}, ("cargo test --quiet",)),
        ({"justfile": b"test *args:\n  ./t\n"}, ("just test",)),
        # nothing can be read from a broken file
        ({"pyproject.toml": b"[tool.ruff", "package.json": b"{", "setup.cfg": b"x"}, ()),
        ({"package.json": b'{"scripts": ["test"]}', "pyproject.toml": b"tool = 1"}, ()),
    ],
)
def test_gate(files: dict[str, bytes | None], gate: tuple[str, ...]) -> None:
    found = detect(files)
    assert found.gate == gate
    assert [line.split(": ")[0] for line in found.lines if "left out" not in line] == list(gate)


def test_what_is_left_out_is_said() -> None:
    found = detect({"pyproject.toml": b"[tool.ruff]\n"})
    assert found.lines == (
        "ruff check .: ruff is configured in pyproject.toml, but left out: no test or dev dependency names ruff",
    )


def test_which_files_are_read() -> None:
    asked = ["pyproject.toml", "requirements-dev.txt", "requirements/test.txt", "a/pyproject.toml", "notes.txt", "a.py"]
    assert [path for path in asked if reads(path)] == asked[:3]


def test_of_tests_only_a_few_are_read() -> None:
    assert reading([f"tests/test_{n}.py" for n in range(1000)] + ["a.py", "tox.ini"]) == {
        "tox.ini",
        *(f"tests/test_{n}.py" for n in (0, 1, 10)),
    }


def test_languages_are_ordered_by_files() -> None:
    files = {"a.py": None, "b.py": None, "c.ts": None, "d.rs": None, "e.txt": None, "f": None}
    assert detect(files).languages == ("Python", "Rust", "TypeScript")


def test_what_was_found_fills_the_configuration() -> None:
    nothing = Partial("nobody")
    config, lines = merge(nothing, None, Detected(gate=("make test",)).partial())
    assert config.checks.gate == ("make test",)
    assert lines == ("checks.gate: from what the repository shows",)
    assert merge(nothing, None, Detected().partial()) == (DeckConfig(), ())


@given(st.dictionaries(st.sampled_from([*READ, "tests/test_a.py", "ruff.toml"]), st.binary(max_size=60)))
def test_no_content_raises(files: dict[str, bytes]) -> None:
    found = detect(files)
    assert len(found.lines) >= len(found.gate)
