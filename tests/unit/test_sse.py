"""Server-sent events: whole events, however the bytes arrive."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.models import documents, sse
from quarterdeck.models.sse import Events, Sent

STREAM = b': ping\n\nevent: a\ndata: {"x": 1}\n\ndata: two\r\ndata: lines\r\n\r\ndata:bare\r\rdata: last\n\nda'


def fed(*chunks: bytes) -> list[Sent]:
    events = Events()
    return [sent for chunk in chunks for sent in events.feed(chunk)]


def test_events_come_out_whole_with_type_and_data() -> None:
    sent = fed(STREAM)
    assert [(item.event, item.data) for item in sent] == [
        ("", b""),
        ("a", b'{"x": 1}'),
        ("", b"two\nlines"),
        ("", b"bare"),
        ("", b"last"),
    ]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_where_the_stream_is_cut_into_chunks_does_not_matter(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    sent = fed(*chunks)
    assert [item.data for item in sent] == [item.data for item in fed(STREAM)]
    assert b"".join(item.raw for item in sent) == STREAM.removesuffix(b"da")


@given(st.binary(max_size=200))
def test_no_byte_is_lost(data: bytes) -> None:
    events = Events()
    sent = events.feed(data)
    assert b"".join(item.raw for item in sent) + events.rest == data


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST", 100)
    with pytest.raises(ValueError, match="longer"):
        fed(b"data: " + b"x" * 200)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b' {"a": [1, 2.5, null], "a": "\xc3\xa4"}\n', {"a": "ä"}),
        (b'{"a": "\\ud83d"}', {"a": "\ud83d"}),  # half a pair: Python's reader takes it
        ("{}".encode("utf-16"), {}),
        (b"12345678901234567890123", 12345678901234567890123),
    ],
)
def test_a_document_is_read_as_python_reads_it(data: bytes, value: Any) -> None:
    assert documents.read(data) == value == json.loads(data)


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1}x', b"[1,]", b'{"a": "\xff"}', b"nul", b"01"])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"line 1|decode"):
        documents.read(data)


_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(st.sampled_from("abc"), inner), max_size=3).map(tuple)
    ),
    max_leaves=12,
)
"""Values in which a tuple stands for an object: what it names, in order."""


def written(value: Any) -> str:
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(name)} : {written(one)}" for name, one in value) + "}"
    return f"[{', '.join(map(written, value))}]" if isinstance(value, list) else json.dumps(value)


def twice(value: Any) -> bool:
    names = [name for name, _ in value] if isinstance(value, tuple) else []
    return len(set(names)) < len(names)


@given(st.lists(st.tuples(st.sampled_from("abc"), _VALUES), max_size=3).map(tuple))
def test_a_plain_document_is_one_in_which_nothing_stands_twice_where_it_matters(value: Any) -> None:
    data = written(value).encode()
    below = [one for _, one in value]
    if any(map(twice, [value, *below, *(one for found in below if isinstance(found, list) for one in found)])):
        with pytest.raises(ValueError, match="stands twice"):
            documents.read_plain(data)
    else:
        assert documents.read_plain(data) == json.loads(data)


@pytest.mark.parametrize("data", [b"[]", b"3", b'{"a": "\\ud83d"}', "{}".encode("utf-16"), b'{"a": 1e999, "b": 1.50}'])
def test_what_is_no_object_or_is_read_the_slow_way_is_plain_as_well(data: bytes) -> None:
    assert documents.read_plain(data) == json.loads(data)
