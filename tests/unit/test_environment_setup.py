"""Which commands build an environment, and when two environments are the same."""

from hypothesis import example, given
from hypothesis import strategies as st

from quarterdeck.workplace.environment import Recipe
from quarterdeck.workplace.setup import decides_environment, deciding_files, detect_setup


def install(files: dict[str, str], *paths: str) -> str:
    commands = detect_setup({name: text.encode() for name, text in files.items()}, paths)
    return commands[-1].partition(" install --use-pep517 ")[2] if commands else ""


def test_nothing_to_install_needs_no_environment() -> None:
    assert detect_setup({}, ("src/a.c",)) == ()
    assert detect_setup({"pyproject.toml": b"[tool.ruff]\n"}) == ()


def test_a_project_is_installed_editable_with_what_its_tests_need() -> None:
    project = '[project]\nname="x"\n[project.optional-dependencies]\ntest=["pytest>=8"]\ndocs=["y"]\n'
    assert install({"pyproject.toml": project}, "tests/test_x.py") == "-e '.[test]'"
    assert install({"pyproject.toml": '[project]\nname="x"\n'}, "tests/test_x.py") == "-e . pytest"
    assert install({"pyproject.toml": '[project]\nname="x"\n'}) == "-e ."
    assert install({"setup.py": "setup(extras_require={'dev': ['pytest']})"}, "test_x.py") == "-e '.[dev]'"
    assert (
        install({"setup.cfg": "[metadata]\nname=x\n[options.extras_require]\ntests =\n  pytest\n"}) == "-e '.[tests]'"
    )


def test_groups_are_spelled_out_with_what_they_include() -> None:
    groups = (
        '[project]\nname="x"\n[dependency-groups]\nTests=["pytest","z;python_version<\'4\'"]\n'
        'dev=[{include-group="tests"},{include-group="dev"},"ruff"]\ndocs=["y"]\n'
    )
    assert install({"pyproject.toml": groups}, "test_x.py").split(" ")[:3] == ["-e", ".", "pytest"]
    assert install({"pyproject.toml": groups}).endswith(" ruff")
    assert "docs" not in install({"pyproject.toml": groups})


def test_requirement_files_and_tests_without_a_project() -> None:
    assert install({"requirements.txt": "a\n", "requirements-dev.txt": "pytest\n"}, "test_x.py") == (
        "-r requirements.txt -r requirements-dev.txt"
    )
    assert install({}, "tests/test_x.py") == ""
    assert install({}, "tests/test_x.py", "tests/conftest.py") == "pytest"
    assert install({"tox.ini": "[pytest]\n"}, "tests/test_x.py") == "pytest"
    assert detect_setup({}, ("test_x.py",), ("python3 -m pytest -q",)) != ()
    assert detect_setup({}, ("test_x.py",), ("python3 -m unittest",)) == ()
    assert install({"requirements.txt": "pytest-mock\n"}, "test_x.py") == "-r requirements.txt pytest"


def test_a_lock_file_of_uv_is_followed() -> None:
    project = b'[project]\nname="x"\n[dependency-groups]\ndev=["a"]\ndocs=["b"]\n'
    commands = detect_setup({"uv.lock": b"", "pyproject.toml": project})
    assert commands[-1] == '"$QUARTERDECK_ENV/bin/uv" sync --frozen --inexact --group dev'


def test_a_file_that_is_no_toml_is_left_to_those_who_read_it() -> None:
    assert install({"pyproject.toml": "[[[", "setup.py": ""}) == "-e ."


def test_files_that_decide() -> None:
    for path in ("uv.lock", "requirements.txt", "dev-requirements.txt", "requirements/test.in", "pyproject.toml"):
        assert decides_environment(path)
    for path in ("pdm.lock", "web/package-lock.json", "Cargo.lock", "go.sum", "pylock.dev.toml", "a/setup.py"):
        assert decides_environment(path)
    assert deciding_files(["b.sh", "c.sh", "a/setup.py"], ["sh ./b.sh"]) == ["a/setup.py", "b.sh"]
    assert len(deciding_files(["setup.py", *(f"{n}/setup.py" for n in range(900))])) == 200
    for path in ("src/main.py", "docs/setup.md", "README.md", "a/requirement.py"):
        assert not decides_environment(path)


FILES = st.dictionaries(st.text("ab", max_size=2), st.binary(max_size=3), max_size=3)
SETUP = st.lists(st.text("ab\0", max_size=2), max_size=3).map(tuple)


@given(FILES, SETUP, FILES, SETUP)
@example({}, ("", "", ""), {"": b""}, ("",))
def test_only_the_same_recipe_has_the_same_key(
    one: dict[str, bytes], setup: tuple[str, ...], other: dict[str, bytes], other_setup: tuple[str, ...]
) -> None:
    same = Recipe(one, setup, "3").key == Recipe(other, other_setup, "3").key
    assert same == ((one, setup) == (other, other_setup))
    assert Recipe(one, setup, "3").key != Recipe(one, setup, "4").key
