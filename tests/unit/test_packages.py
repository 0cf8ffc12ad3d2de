"""What the machine's package tools are configured for."""

import pytest

from quarterdeck.workplace.packages import PipFacts, configured, file_hosts, host_entry, parse_pip


def test_pips_answer_is_read_in_both_forms() -> None:
    first = "('https://index.example/simple', 'index.example', 'files.example')\n"
    flat = parse_pip(first + "[('global.index-url', 'https://a.example/')]\n")
    grouped = parse_pip(first + "[('/etc/pip.conf', {'global.index-url': 'https://a.example/'})]\n")
    assert flat == grouped
    assert flat.hosts == ("index.example", "files.example")
    assert flat.options == (("global.index-url", "https://a.example/"),)


def test_files_variables_and_uv_all_count_and_local_directories_do_not() -> None:
    facts = PipFacts(
        "d",
        ("d",),
        (("install.index-url", "https://a.example/s"), ("global.extra-index-url", "file:///x\nhttp://b.example/")),
    )
    uv = [{"index": [{"name": "c", "url": "https://c.example/", "default": True}, {"url": "https://d.example/"}]}]
    found = configured(facts, {"UV_INDEX": "priv=https://e.example/ https://f.example/"}, uv)
    assert set(found.main) == {"https://a.example/s", "https://c.example/"}
    assert set(found.extra) == {f"http{s}://{h}.example/" for h, s in (("b", ""), ("d", "s"), ("e", "s"), ("f", "s"))}


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("https://a.example/x", "a.example"),
        ("http://u:p@a.example:8080/", "a.example:8080"),
        ("http://[::1]:9/", "[::1]:9"),
    ],
)
def test_entries(url: str, entry: str) -> None:
    assert host_entry(url) == entry


def test_where_files_lie_is_read_from_the_indexes_page() -> None:
    page = (
        '<a href="../../x.whl#sha256=1">x</a><a href="https://files.example/y.whl">y</a>{"url": "https://z.example/z"}'
    )
    assert file_hosts(page, "https://a.example/simple/pip/") == ("a.example", "files.example", "z.example")
