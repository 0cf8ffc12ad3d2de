"""The rules of this repository that no linter knows, checked on the source as text and as syntax trees."""

import ast
import gc
import re
import subprocess
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from quarterdeck.kernel import probes

pytestmark = pytest.mark.xdist_group("rules")  # what each test reads and parses is kept for the next one

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "quarterdeck"

LAZY_REGISTRIES = {
    "cli/registry.py",
    "models/factory.py",
    "tools/shed/loading.py",
    "telemetry/loading.py",
    "store/opening.py",
}
"""Load commands and vendor adapters by name, so that `--help` is fast. Nothing else imports inside a function."""

DOORS = {"doors/serve.py", "doors/mcp_door.py", "doors/api/door.py", "assembly/late.py"}
ASKS_BY_NAME = LAZY_REGISTRIES | DOORS | {"delivery/validation/survey/places.py", "agents/acp.py"}
"""And, inside the sandbox, who asks the interpreter's own library which names it has; and the doors, which load their
server when they first serve."""

ENVIRONMENT_READERS = ("settings/", "settings.py", "workplace/worker", "testing/forked.py")
"""The settings; the worker, which runs inside the sandbox, where it sees the sandbox's environment alone; and what
gives a forked process the environment that it is asked to have."""

VENDOR_SDKS = ("anthropic", "openai", "google")
"""Models are called over plain HTTP: docs/decisions/0011."""

MAX_LINES = 400
MAX_OTHER_LINES = 500
"""Of what is not shipped: kits, benchmarks."""
MAX_TEST_LINES = 800

EXCEPTION = re.compile(r"# (noqa|type: ignore)\b")
EXPLAINED = re.compile(r"# (noqa: [A-Z0-9, ]+? --?|type: ignore\[[\w, -]+\]  #) \S")
FILE_EXCEPTION = re.compile(r"# (ruff: noqa|mypy:)")
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+(TABLE|INDEX)\s)",
    re.DOTALL,
)
CONNECTION_CONTROL = re.compile(r"^\s*(PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT)\b")
# Spelled so that this file does not match itself.
MACHINE_PATHS = re.compile(r"(?<![\w.\-/])/(?:root|work|home/\w+|Users/\w+)/(?=\w)")
REGISTRY_HOSTS = re.compile(r"https?://[\w.\-]*(?:py[p]i|pythonho[s]ted|npm[j]s|deb[i]an)\.")
TEXT_ENDINGS = {".py", ".md", ".toml", ".yaml", ".yml", ".lock", ".sql", ".sh", ".cfg", ".txt", ".json", ""}


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the repository that git knows or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return tuple(path for path in paths if path.is_file())


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(path)))


@pytest.fixture(scope="module", autouse=True)
def _trees_are_let_go_of() -> Iterator[None]:
    """Millions of nodes: nobody looks through them for garbage, and no later test of this process carries them."""
    gc.disable()
    yield
    tree.cache_clear()
    nodes.cache_clear()
    gc.enable()


@cache
def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def inside(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def violations(rule: Callable[[Path], Iterator[str]], paths: list[Path]) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {found}" for path in paths for found in rule(path)]


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return []


def ours(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] == "quarterdeck"


def local_imports(path: Path) -> Iterator[str]:
    if not any(getattr(node, "col_offset", 0) and any(map(ours, imported(node))) for node in nodes(path)):
        return  # all stand at the beginning of a line, as in most files: no function has to be walked through
    for function in nodes(path):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                for name in imported(node):
                    if ours(name):
                        yield f"line {getattr(node, 'lineno', 0)} imports {name} inside a function"


def imports_by_name(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in ("import_module", "__import__"):
                yield f"line {node.lineno} imports by name"


def environment_reads(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"):
            yield f"line {node.lineno} reads the environment"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            for alias in node.names:
                if alias.name in ("environ", "environb", "getenv"):
                    yield f"line {node.lineno} reads the environment"


def sql_text(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value):
            yield f"line {node.lineno} holds SQL"


def connection_control(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CONNECTION_CONTROL.search(node.value):
            yield f"line {node.lineno} steers a database connection"


def probe_points(path: Path) -> Iterator[str]:
    for node in nodes(path):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="probes"), attr="hit"), args=[ast.Constant(value=str(name))]
            ):
                yield name
            case _:
                pass


def sleeps(path: Path) -> Iterator[str]:
    """`asyncio.sleep(0)` only lets others run; a program inside a string is not the test."""
    for node in nodes(path):
        match node:
            case ast.Call(func=ast.Attribute(attr="sleep"), args=[ast.Constant(value=0)]):
                pass
            case ast.Call(func=ast.Attribute(attr="sleep") | ast.Name(id="sleep")):
                yield f"line {node.lineno} sleeps"
            case _:
                pass


def missing_docstring(path: Path) -> Iterator[str]:
    if not ast.get_docstring(tree(path)):
        yield "does not open with its rules"


def too_long(path: Path) -> Iterator[str]:
    lines = len(path.read_text().splitlines())
    limit = MAX_TEST_LINES if path.name.startswith("test_") else MAX_OTHER_LINES
    if path.is_relative_to(SOURCE):
        limit = MAX_LINES
    if lines > limit:
        yield f"{lines} lines: split it by what it decides"


def unexplained(path: Path) -> Iterator[str]:
    """An exception to a linter's rule says why: beside it, or in the line above one for the whole file."""
    if not re.search("noqa|type: ignore|mypy:", path.read_text()):
        return
    with path.open("rb") as file:
        found = {token.start[0]: token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT}
    for number, token in found.items():
        beside = EXCEPTION.match(token.string) and not EXPLAINED.match(token.string)
        if beside or (FILE_EXCEPTION.match(token.string) and number - 1 not in found):
            yield f"line {number} gives no reason: {token.string}"


def test_nothing_of_ours_is_imported_inside_a_function() -> None:
    assert violations(local_imports, [path for path in modules() if inside(path) not in LAZY_REGISTRIES]) == []


def test_only_the_lazy_registries_import_by_name() -> None:
    assert violations(imports_by_name, [path for path in modules() if inside(path) not in ASKS_BY_NAME]) == []


def test_only_the_settings_read_the_environment() -> None:
    checked = [path for path in modules() if not inside(path).startswith(ENVIRONMENT_READERS)]
    assert violations(environment_reads, checked) == []


def test_sql_lives_in_sql_files() -> None:
    assert violations(sql_text, modules()) == []
    adapters = tuple(f"store/{name}.py" for name in ("sqlite", "postgres", "session", "upgrading", "copying"))
    assert violations(connection_control, [path for path in modules() if inside(path) not in adapters]) == []


def test_migrations_are_numbered_alike_for_both_databases() -> None:
    """Two that were made at the same time and took the same number would otherwise open no deck any more."""
    for folder in (SOURCE / "store" / "schema", SOURCE / "store" / "schema" / "postgres"):
        numbers = sorted(int(path.name[:4]) for path in folder.glob("*.sql"))
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), folder
    both = [max(path.name[:4] for path in folder.glob("*.sql")) for folder in (SOURCE / "store" / "schema", folder)]
    assert both[0] == both[1]


def test_every_module_opens_with_its_rules() -> None:
    assert violations(missing_docstring, modules() + sorted((ROOT / "tests").rglob("test_*.py"))) == []


def test_no_file_grows_without_end() -> None:
    files = [path for folder in (SOURCE, ROOT / "tests", ROOT / "bench") for path in folder.rglob("*.py")]
    assert violations(too_long, sorted(files)) == []


def test_every_exception_to_a_rule_has_its_reason() -> None:
    folders = (
        SOURCE,
        *(ROOT / name for name in ("tests", "bench", "fuzz", "conformance", "test_agents", "docs", "web")),
    )
    known = set(tracked())
    files = [path for folder in folders for path in folder.rglob("*.py") if path in known]
    assert violations(unexplained, sorted(files)) == []


def test_no_vendors_sdk_is_imported() -> None:
    def rule(path: Path) -> Iterator[str]:
        for node in nodes(path):
            for name in imported(node):
                if name.split(".")[0] in VENDOR_SDKS:
                    yield f"imports {name}"

    assert violations(rule, modules()) == []


def test_tests_wait_on_signals_and_never_sleep() -> None:
    assert violations(sleeps, sorted((ROOT / "tests").rglob("*.py"))) == []


def test_every_probe_point_is_listed_and_every_listed_one_is_used() -> None:
    used = {name for path in modules() for name in probe_points(path)}
    assert used - set(probes.NAMES) == set(), "hit, but not listed in kernel/probes.py"
    assert set(probes.NAMES) - used == set(), "listed in kernel/probes.py, but never hit"


def test_no_tracked_file_names_a_machines_path_or_a_package_registry() -> None:
    def rule(path: Path) -> Iterator[str]:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            return
        for number, line in enumerate(text.splitlines(), start=1):
            if MACHINE_PATHS.search(line) or REGISTRY_HOSTS.search(line):
                yield f"line {number}: {line.strip()[:100]}"

    assert violations(rule, [path for path in tracked() if path.suffix in TEXT_ENDINGS]) == []


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def f():\n    from quarterdeck import x\n", local_imports),
        ("async def f():\n    import quarterdeck.x\n", local_imports),
        ("import importlib\nimportlib.import_module('x')\n", imports_by_name),
        ("import os\nos.environ['X']\n", environment_reads),
        ("from os import getenv\n", environment_reads),
        ("q = 'SELECT a FROM b'\n", sql_text),
        ("q = 'BEGIN IMMEDIATE'\n", connection_control),
        ("import time\ntime.sleep(1)\n", sleeps),
        ("from asyncio import sleep\nsleep(0.1)\n", sleeps),
        ("x = 1\n", missing_docstring),
        ("\n" * 600, too_long),
        ("import os  # noqa: F401\n", unexplained),
        ("x = f()  # type: ignore[misc]\n", unexplained),
        ("# ruff: noqa: E501\n", unexplained),
    ],
)
def test_the_rules_find_what_they_forbid(source: str, rule: Callable[[Path], Iterator[str]], tmp_path: Path) -> None:
    guilty, innocent = tmp_path / "guilty.py", tmp_path / "innocent.py"
    guilty.write_text(source)
    innocent.write_text('"""Rules."""\n\nfrom quarterdeck import kernel\n')
    assert list(rule(guilty))
    assert not list(rule(innocent))
