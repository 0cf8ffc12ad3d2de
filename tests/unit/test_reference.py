"""The reference is what the code says: pages that are out of date, and things that nobody explained, fail here."""

import re
import tomllib
from pathlib import Path

import pytest
from docs import generate, shapes, sources

from quarterdeck.cli import registry
from quarterdeck.kernel import config, entities, events, failures, triggers

pytestmark = pytest.mark.xdist_group("reference")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return generate.pages()


def test_the_written_pages_are_up_to_date(pages: dict[str, str]) -> None:
    assert generate.stale(pages) == [], "run `make docs` and commit what it writes"


def test_a_page_that_differs_or_that_nothing_makes_is_stale(
    pages: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(generate, "PAGES", tmp_path)
    assert generate.stale(pages) == []
    (tmp_path / "cli.md").write_text("old")
    (tmp_path / "plan.md").unlink()
    (tmp_path / "more.md").write_text("left over")
    assert generate.stale(pages) == ["cli.md", "more.md", "plan.md"]


def test_every_part_of_a_template_is_filled(pages: dict[str, str]) -> None:
    assert set(pages) == {"cli.md", "deck-toml.md", "events.md", "failures.md", "openapi.json", "plan.md"}
    assert [name for name, text in pages.items() if re.search(r"\{\{\w+\}\}", text)] == []


def test_every_command_is_there_with_its_options(pages: dict[str, str]) -> None:
    page = pages["cli.md"]
    for command in registry.COMMANDS:
        assert f"### `quarterdeck {command.name}" in page
    assert "| `--budget` USD |" in page
    assert "### `quarterdeck audit verify" in page


def test_every_key_says_what_it_means() -> None:
    sections = [name for name in sources.Source(config).classes if name.endswith("Section")] + ["Price"]
    silent = [
        f"{name}.{key}"
        for source, names in (
            (sources.Source(config), sections),
            (sources.Source(triggers), ["TriggerSection", "GithubSection", "NotifySection"]),
            (sources.Source(entities), ["Plan", "Task"]),
        )
        for name in names
        for key, _, said in source.attributes(name)
        if not said
    ]
    assert silent == []


def test_every_explained_field_is_one() -> None:
    explained = tomllib.loads(generate.FIELDS.read_text(encoding="utf-8"))
    known: set[str] = set()
    for where in generate.EVENTS:
        source = sources.Source(where)
        for name in (name for _, names in source.groups() for name in names):
            kind = getattr(where, name).model_fields["kind"].default
            for field in (field for field, _, said in source.attributes(name) if not said):
                known |= {field, f"{kind}.{field}"}
    for module, bodies in generate.BODIES.items():
        for name in bodies:
            known |= {f"{name}.{field}" for field, _, said in sources.Source(module).attributes(name) if not said}
    assert set(explained) - known == set()


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("Blob | None", "digest, or null"),
        ("tuple[str, ...]", "list of text"),
        ("Literal['allow', 'ask']", "`allow`, `ask`"),
        ("Node", "`plan`, `dispatch`, `implement`, `check`, `review`, `approve`, `gate`, `report`, `retrospective`"),
        ("Usage", "`Usage`"),
    ],
)
def test_what_a_field_holds_is_said_in_words(annotation: str, words: str) -> None:
    assert generate.value(annotation) == words


def test_every_event_class_and_code_says_what_it_means(pages: dict[str, str]) -> None:
    streams = [sources.Source(module) for module in generate.EVENTS]
    kinds = [(source, name) for source in streams for _, names in source.groups() for name in names]
    assert len(kinds) == len(events.EventBase.__subclasses__())
    assert [name for source, name in kinds if not source.doc(name)] == []
    page = pages["events.md"]
    assert re.findall(r"^\| `(\w+)` \| [^|]+ \|(?: \|)?$", page, re.MULTILINE) == []
    failing = sources.Source(failures)
    assert [name for where in ("Exit", "FailureClass") for name, _, said in failing.attributes(where) if not said] == []


@pytest.mark.parametrize(
    ("schema", "annotation", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 1000}, "int", "integer, 1 to 1,000"),
        ({"type": "number", "exclusiveMinimum": 0}, "Duration", "duration"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "str | None", "text"),
        ({"enum": ["off", "warn"]}, "Level", '`"off"`, `"warn"`'),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, "", "list of text, at least one"),
    ],
)
def test_types_are_said_in_words(schema: dict[str, object], annotation: str, words: str) -> None:
    assert generate.kind(schema, annotation) == words


def test_the_dashboard_knows_what_the_server_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not shapes.stale(), "run `make docs` and commit what it writes"
    page = tmp_path / "shapes.ts"
    page.write_text(shapes.shapes().replace("  readonly silent: boolean;\n", ""))
    monkeypatch.setattr(shapes, "PAGE", page)
    assert shapes.stale()
