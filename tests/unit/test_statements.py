"""One text of a statement for two databases."""

import pytest

from quarterdeck.store import statements
from quarterdeck.store.statements import number


@pytest.mark.parametrize(
    ("ours", "theirs", "names"),
    [
        ("SELECT :b, :a, :b", "SELECT $1, $2, $1", ("b", "a")),
        ("INSERT INTO t VALUES (?2, ?1)", "INSERT INTO t VALUES ($2, $1)", ()),
        ("SELECT ':a', \":a\", x::TEXT, 'it''s :a', :a", "SELECT ':a', \":a\", x::TEXT, 'it''s :a', $1", ("a",)),
    ],
)
def test_parameters_are_numbered_where_they_are_parameters(ours: str, theirs: str, names: tuple[str, ...]) -> None:
    found = number(ours)
    assert (found.sql, found.names) == (theirs, names)


def test_what_postgresql_says_in_other_words_is_said_so_everywhere() -> None:
    said = statements.statements("postgres")
    assert not [
        name for name, sql in said.items() if " CROSS JOIN " in sql and " ON " in sql.split(" CROSS JOIN ")[1][:40]
    ]
    assert "chr(1114111)" in said["stream_names"] and "char(1114111)" in statements.statements()["stream_names"]


def test_no_text_takes_the_servers_user_for_a_column() -> None:
    """PostgreSQL would answer with the name of whoever is connected."""
    bare = [name for name, sql in statements.statements("postgres").items() if _bare_user(sql)]
    assert bare == []
    assert _bare_user("SELECT user FROM runs")


def _bare_user(sql: str) -> bool:
    words = sql.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return "user" in words
