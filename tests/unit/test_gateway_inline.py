"""Pictures, documents and sound in a request: where they are found, how large they are, what they are charged for."""

import base64
import json
import struct
import time
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.gateway import charges, estimates, inline, pages, pictures, sounds, wires
from quarterdeck.gateway.allowance import Allowance, Spent
from quarterdeck.gateway.charges import Inline
from quarterdeck.gateway.inline import Document, Other, Picture, Piece, Sound
from quarterdeck.gateway.wires import Asked, Operation, Place, Wire
from quarterdeck.kernel.config import Price

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 1920, 1080) + b"\x08\x02\0\0\0"
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc2\x00\x0b\x08" + struct.pack(">HH", 1080, 1920) + b"\x01\x01\x11\x00\xff\xda"
GIF = b"GIF89a" + struct.pack("<HH", 10, 10) + b"\x00\x00\x00," + struct.pack("<HHHH", 20, 0, 1900, 1080)
LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 1920, 1080)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 1919 | 1079 << 14)
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + (1919).to_bytes(3, "little") + (1079).to_bytes(3, "little")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def blob(kind: str, mime: str, data: str) -> dict[str, Any]:
    return {"type": kind, "source": {"type": "base64", "media_type": mime, "data": data}}


def counted(data: bytes) -> int:
    return pages.count(data, inline.allowance(len(data)))


def extent(data: bytes) -> tuple[int, int]:
    return pictures.extent(data, inline.allowance(len(data)))


def seconds(data: bytes) -> float:
    return sounds.seconds(data, inline.allowance(len(data)))


def pieces(wire: Wire, body: dict[str, Any]) -> tuple[Piece, ...]:
    return inline.pieces(wire, body, inline.allowance(len(json.dumps(body))))


def request(wire: Wire, **body: Any) -> Asked:
    return wires.read(Place(wire, Operation.CALL), json.dumps(body).encode())


# --- pictures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [PNG, JPEG + b"x" * 50, GIF, LOSSY, LOSSLESS, EXTENDED])
def test_a_picture_says_how_large_it_is(data: bytes) -> None:
    assert pictures.known(data[:32])
    assert extent(data) == (1920, 1080)


def test_the_picture_inside_of_a_picture_s_facts_is_not_the_picture() -> None:
    thumbnail = b"\xff\xd8\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 9, 9) + b"\x01\x01\x11\x00\xff\xda"
    facts = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert extent(b"\xff\xd8" + facts + JPEG[2:] + b"xx") == (1920, 1080)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 40,
        PNG[:20],
        JPEG[:14],
        JPEG[:-2],
        GIF[:20],
        LOSSY[:28],
        b"BM" + b"x" * 30,
        b"\xff\xd8" + b"\xff" * 9,
    ],
)
def test_what_cannot_be_read_has_no_size(data: bytes) -> None:
    assert extent(data) == (0, 0)


@given(st.sampled_from([PNG[:16], JPEG[:10], GIF[:6], LOSSY[:16], b"RIFF\0\0\0\0WAVE", b"%PDF-1.7\n"]), st.binary())
def test_nonsense_is_measured_without_a_word(start: bytes, rest: bytes) -> None:
    width, height = extent(start + rest)
    assert (width > 0) == (height > 0)
    assert counted(start + rest) >= 0
    assert seconds(start + rest) >= 0


# --- documents --------------------------------------------------------------------------------------------


def pdf(*objects: bytes) -> bytes:
    return b"%PDF-1.7\n" + b"".join(b"%d 0 obj\n%b\nendobj\n" % pair for pair in enumerate(objects, 2)) + b"%%EOF"


TREE = b"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>"
LEAF = b"<< /Type /Page /Parent 2 0 R >>"


def packed(head: bytes, content: bytes) -> bytes:
    data = zlib.compress(content)
    return b"<< %b /Filter /FlateDecode /Length %d >>\nstream\n%b\nendstream" % (head, len(data), data)


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (pdf(TREE, LEAF, LEAF), 2),
        (pdf(packed(b"/Type /ObjStm /N 3 /First 15", b"2 0 3 50 4 90\n" + TREE + LEAF + LEAF)), 2),
        (pdf(b"<</Type/Pages/Kids[3 0 R]/Count 900>>", b"<</Type/Page>>"), 900),
        (pdf(b"<</Type/Pages/Kids[3 0 R 4 0 R 5 0 R]/Count 1>>", LEAF), 3),
        (pdf(b"<</Type/Pages/Kids[3 0 R 3 0 R]/Count 1>>", LEAF), 0),
        (pdf(b"<</Type/Pages/Kids 9 0 R/Count 1>>", LEAF), 0),
        (pdf(b"<</Type/Pages/K#69ds[3 0 R]/Count 1>>", LEAF), 0),
        (pdf(TREE, LEAF, LEAF, b"<< /Encrypt 9 0 R >>"), 0),
        (pdf(TREE, LEAF, packed(b"/Type /ObjStm /DecodeParms << >>", TREE)), 0),
        (pdf(LEAF, packed(b"/Type /ObjStm /X (obj) /Y (" + b" " * 2_000 + b")", TREE)), 0),
        (pdf(LEAF, b"<< /Type /ObjStm /Filter /FlateDecode >>\nstream\nnonsense\nendstream"), 0),
        (b"%PDF-1.7 and nothing", 0),
    ],
)
def test_the_pages_of_a_document_are_counted_or_not_known(data: bytes, count: int) -> None:
    assert counted(data) == count


def test_what_unpacks_to_too_much_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_LARGEST", 10_000)
    assert counted(pdf(LEAF, packed(b"/Type /ObjStm", b" " * 20_000))) == 0


@pytest.mark.parametrize("before", [*range(pages._WINDOW - 40, pages._WINDOW + 2), 3 * pages._WINDOW - 20])
def test_what_stands_where_two_looks_meet_is_seen_once(before: int) -> None:
    tree = b"<</Type/Pages /Kids [3 0 R 4 0 R] /Count 1>>"
    assert counted(b"%PDF-1.7\n".ljust(before) + tree + LEAF) == 2
    assert counted(b"%PDF-1.7\n".ljust(before) + LEAF * 3) == 3
    assert counted(b"%PDF-1.7\n".ljust(before) + b"/P#61ge" + LEAF * 3) == 0


@pytest.mark.parametrize("name", [b"/Type%b/Page", b"/Kids%b[3 0 R]", b"/Count%b900"])
def test_what_stands_too_far_from_its_name_is_not_overlooked(name: bytes) -> None:
    assert counted(pdf(LEAF, name % (b" " * 70))) == 0


# --- what takes long --------------------------------------------------------------------------------------

TINY = zlib.compress(b"x")
SLOW = {
    "arrays without an end": b"/Kids[" * 20_000,
    "arrays that hold arrays": b"/Kids[" * 2_000 + b"]",
    "streams without an end": (b"obj/ObjStm/FlateDecode stream\n" + TINY) * 10_000 + b" " * 400_000,
    "streams with one end": (b"obj/ObjStm/FlateDecode stream\n" + TINY) * 10_000 + b" " * 400_000 + b"endstream",
    "streams that hold much": packed(b"obj /ObjStm", b" " * 30_000_000) * 20,
    "streams": packed(b"obj /ObjStm", b"x") * 8_000,
    "pages": b"/Type/Page " * 60_000,
    "pages that are far away": (b"/Type" + b" " * 64) * 10_000,
    "numbers": b"/Count 1 " * 80_000,
    "names": b"/#41" * 150_000,
    "long names": b"/" + b"#41" * 200_000,
    "marks": b"/" * 700_000,
    "references": b"/Kids[" + b"1 0 R " * 3_000 + b"]" + b"/Kids[]" * 80_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_a_document_is_looked_through_in_a_time_in_proportion_to_its_length(name: str) -> None:
    """Seconds of this thread's own computing: a small part of what each of them took when it was looked through again
    for each of its parts, or whatever it unpacked to."""
    body = {"messages": [{"content": [blob("document", "application/pdf", b64(b"%PDF-1.7\n" + SLOW[name]))]}]}
    began = time.thread_time()
    assert charges.inline("anthropic:claude-opus-5", pieces(Wire.MESSAGES, body)).size >= 0
    assert time.thread_time() - began < 1.0


def test_many_documents_share_what_may_be_looked_through() -> None:
    bomb = blob("document", "application/pdf", b64(pdf(*[packed(b"/Type /ObjStm", b" " * 2_000_000)] * 4)))
    body = {"messages": [{"content": [bomb] * 200}]}
    began = time.thread_time()
    found = pieces(Wire.MESSAGES, body)
    assert time.thread_time() - began < 2.0, "1.6 GB when it is all unpacked"
    assert charges.inline("anthropic:claude-opus-5", found).tokens is None


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            [blob("document", "application/pdf", b64(pdf(TREE, LEAF, LEAF)))],
            Document(len(b64(pdf(TREE, LEAF, LEAF))), 2),
        ),
        ([blob("document", "application/pdf", b64(pdf(TREE, b" " * 600_000)))], Other(0)),
        ([{}] * 10_000, Other(0)),
    ],
)
def test_what_takes_long_is_not_done_where_others_wait_for_it(parts: list[Any], expected: Piece) -> None:
    at_once = Allowance(inline.AT_ONCE)
    assert inline.pieces(Wire.MESSAGES, {"messages": [{"content": parts}]}, at_once) == (expected,)
    assert at_once.spent is isinstance(expected, Other)


SMALL = {
    "pictures of many parts": blob("image", "image/jpeg", b64(b"\xff\xd8" + b"\xff\xe0\0\2" * 999)),
    "pictures before which much is said": blob("image", "image/gif", b64(GIF[:13] + b"!\xfe" + b"\1x" * 90_000)),
    "pictures before which nothing is said": blob("image", "image/gif", b64(GIF[:13] + b"!\xfe\0" * 999)),
    "pictures that hold nothing": blob("image", "image/png", ""),
}


@pytest.mark.parametrize("name", SMALL)
def test_many_small_things_take_longer_than_their_bytes(name: str) -> None:
    """Where others wait for it, that is: the rest is looked at beside them."""
    part = SMALL[name]
    body = {"messages": [{"content": [part] * min(4_000, 1 + 1_000_000 // len(json.dumps(part)))}]}
    at_once = Allowance(inline.AT_ONCE)
    began = time.thread_time()
    inline.pieces(Wire.MESSAGES, body, at_once)
    assert time.thread_time() - began < 0.035
    assert at_once.spent


def test_pictures_as_they_are_mostly_made_are_looked_at_at_once() -> None:
    usual = [
        blob("image", "image/png", b64(PNG + b"x" * 30_000)),
        blob("image", "image/jpeg", b64(JPEG + b"x" * 90_000)),
    ]
    at_once = Allowance(inline.AT_ONCE)
    found = inline.pieces(Wire.MESSAGES, {"messages": [{"content": usual * 5}]}, at_once)
    assert [each for each in found if isinstance(each, Picture) and each.width == 1920] == list(found)
    assert not at_once.spent


class Late(int):
    """A number of bytes; nobody waits any more when they are counted."""

    may: Allowance

    def __rsub__(self, other: int) -> int:
        self.may.end()
        return other - int(self)


def test_what_ends_while_it_is_counted_down_has_ended() -> None:
    may, count = Allowance(100), Late(10)
    count.may = may
    may.take(count)
    assert may.spent
    with pytest.raises(Spent):
        may.take(1)


def test_nothing_is_looked_through_for_who_does_not_wait_any_more() -> None:
    gone = inline.allowance(10_000_000)
    gone.end()
    with pytest.raises(Spent):
        pages.count(pdf(TREE, LEAF, LEAF), gone)


def test_a_sound_or_a_picture_of_very_many_parts_is_not_known() -> None:
    began = time.thread_time()
    assert seconds(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 1_000_000 + wav(1, 100)[12:]) == 0
    assert extent(GIF[:13] + b"!\xfe\1x\0" * 50_000 + GIF[13:]) == (0, 0)
    assert time.thread_time() - began < 0.1


# --- sound ------------------------------------------------------------------------------------------------


def wav(kind: int, size: int) -> bytes:
    form = struct.pack("<HHIIHH", kind, 1, 8_000, 16_000, 2, 16)
    return b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size) + b"\0" * size


def test_the_length_of_a_sound_is_read_where_nothing_can_hide_in_it() -> None:
    assert 10 <= seconds(wav(1, 160_000)) < 10.1
    assert seconds(wav(17, 160_000)) == 0, "packed samples"
    assert seconds(b"\xff\xfb" + b"x" * 4_998) == 5.0
    assert seconds(b"ID3\4\0\0\0\0\1\0" + b"t" * 128 + b"\xff\xfb" + b"x" * 4_860) == 5.0
    assert seconds(b"fLaC" + b"x" * 5_000) == seconds(b"OggS" + b"x" * 5_000) == 0


# --- where they lie ---------------------------------------------------------------------------------------

PICTURE, PAGES, SPOKEN, TABLE = b64(PNG), b64(pdf(TREE, LEAF, LEAF)), b64(wav(1, 160_000)), b64(b"PK\3\4 a table")
SIZED = Picture(len(PICTURE), 1920, 1080)
DOUBTFUL = Document(len(PAGES), 2, text=True)


IMAGE = blob("image", "image/png", PICTURE)
FOUND: list[tuple[Wire, dict[str, Any], list[Piece]]] = [
    (Wire.MESSAGES, {"messages": [{"role": "user", "content": [IMAGE, IMAGE]}]}, [SIZED, SIZED]),
    (
        Wire.MESSAGES,
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [IMAGE]}]}]},
        [SIZED],
    ),
    (
        Wire.MESSAGES,
        {
            "messages": [
                {
                    "content": [
                        {
                            "type": "web_fetch_tool_result",
                            "content": {
                                "type": "web_fetch_result",
                                "content": blob("document", "application/pdf", PAGES),
                            },
                        },
                        {"type": "tool_use", "input": {"content": [IMAGE]}},
                        {"type": "text", "text": "a"},
                    ]
                }
            ]
        },
        [Document(len(PAGES), 2)],
    ),
    (
        Wire.MESSAGES,
        {"messages": [{"content": [{"type": "document", "source": {"type": "content", "content": [IMAGE]}}]}]},
        [SIZED],
    ),
    (
        Wire.MESSAGES,
        {"messages": [{"content": [blob("document", "application/pdf", PAGES)]}]},
        [Document(len(PAGES), 2)],
    ),
    (Wire.MESSAGES, {"messages": [{"content": [blob("image", "image/png", "AAAA")]}]}, [Picture(4)]),
    (
        Wire.RESPONSES,
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": f"data:;base64,{PICTURE}"}]}]},
        [SIZED],
    ),
    (
        Wire.RESPONSES,
        {"input": [{"content": [{"type": "input_image", "image_url": {"url": f"data:;base64,{PICTURE}"}}]}]},
        [SIZED],
    ),
    (Wire.CHAT, {"messages": [{"content": [{"image_url": {"url": f"data:;base64,{PICTURE}"}}]}]}, [SIZED]),
    (Wire.CHAT, {"messages": [{"content": [{"file": {"file_data": PAGES}}, {"text": "a"}]}]}, [DOUBTFUL]),
    (
        Wire.RESPONSES,
        {
            "input": [
                {
                    "type": "computer_call_output",
                    "output": {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{PICTURE}"},
                },
                {"type": "function_call_output", "output": [{"type": "input_file", "file_data": PAGES}]},
            ]
        },
        [Document(len(PAGES), 2, text=True), SIZED],
    ),
    (
        Wire.RESPONSES,
        {"input": [{"content": [{"type": "input_file", "file_data": f"data:application/zip;base64,{TABLE}"}]}]},
        [Other(len(TABLE))],
    ),
    (
        Wire.RESPONSES,
        {"input": [{"content": [{"type": "input_file", "file_data": "data:text/csv;base64,YSxiCg=="}]}]},
        [],
    ),
    (
        Wire.CHAT,
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}]}]},
        [SIZED],
    ),
    (
        Wire.CHAT,
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg"}}]}]},
        [Picture(0)],
    ),
    (
        Wire.CHAT,
        {"messages": [{"content": [{"type": "input_audio", "input_audio": {"data": SPOKEN, "format": "wav"}}]}]},
        [Sound(len(SPOKEN), 160_044 / 16_000)],
    ),
    (
        Wire.GEMINI,
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": PICTURE.replace("+", "-")}}]}]},
        [SIZED],
    ),
    (
        Wire.GEMINI,
        {"contents": {"parts": [{"inline_data": {"mime_type": "video/mp4", "data": TABLE}}]}},
        [Other(len(TABLE))],
    ),
    (
        Wire.GEMINI,
        {"contents": [{"parts": [{"functionResponse": {"parts": [{"inlineData": {"data": PAGES}}]}}]}]},
        [Document(len(PAGES), 2, text=True)],
    ),
]


@pytest.mark.parametrize(("wire", "body", "expected"), FOUND)
def test_what_is_no_text_is_found_where_its_format_has_room_for_it(
    wire: Wire, body: dict[str, Any], expected: list[Piece]
) -> None:
    assert sorted(map(str, pieces(wire, body))) == sorted(map(str, expected))


URL = f"data:image/png;base64,{PICTURE}"


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (Wire.MESSAGES, {"messages": [{"content": [{"type": "tool_use", "input": IMAGE}]}], "system": [IMAGE]}),
        (Wire.MESSAGES, {"messages": [{"content": [{"type": "text", "text": URL}]}]}),
        (Wire.RESPONSES, {"input": [{"type": "function_call", "arguments": URL}], "instructions": URL}),
        (Wire.RESPONSES, {"input": URL, "tools": [{"type": "input_image", "image_url": URL}]}),
        (Wire.CHAT, {"messages": [{"content": URL}, {"content": [{"type": "text", "text": URL}]}]}),
        (Wire.CHAT, {"messages": [{"tool_calls": [{"type": "image_url", "image_url": {"url": URL}}]}]}),
        (Wire.GEMINI, {"contents": [{"parts": [{"functionCall": {"args": {"inlineData": {"data": PICTURE}}}}]}]}),
    ],
)
def test_what_is_only_called_a_picture_is_text(wire: Wire, body: dict[str, Any]) -> None:
    assert pieces(wire, body) == ()


def test_more_pieces_than_anybody_takes_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "MOST", 3)
    found = pieces(Wire.MESSAGES, {"messages": [{"content": [IMAGE] * 9}]})
    assert charges.inline("anthropic:claude-opus-5", found).tokens is None


@given(st.binary(max_size=80), st.integers(4, 30), st.booleans(), st.sampled_from(["", "\n", " = "]))
def test_base64_is_read_in_pieces_as_it_is_in_one(data: bytes, piece: int, bare: bool, end: str) -> None:
    said = b64(data)
    said = (said.rstrip("=") if bare else said).replace("+", "-") + (end if bare or "=" not in end else "")
    spaced = "\n".join(said[at : at + 7] for at in range(0, len(said), 7))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inline, "_PIECE", piece)
        assert inline._decoded(said) == inline._decoded(spaced) == data
        assert data.startswith(inline._decoded(spaced, 32))
        assert inline._decoded(said, 32)[:20] == data[:20]
        assert inline._decoded("QUJD=" + "A" * 40) == inline._decoded("QUJD" * 9 + "é") == b""


# --- what may be text -------------------------------------------------------------------------------------

SAID = b" hello world" * 1_000
LIKE_GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00," + b"\0" * 9 + SAID
LIKE_PDF = b"%PDF-1.4 /Type /Page " + SAID


def file_part(mime: str, data: bytes, **named: str) -> dict[str, Any]:
    said = f"data:{mime};base64,{b64(data)}" if mime else b64(data)
    return {"input": [{"content": [{"type": "input_file", "file_data": said, **named}]}]}


def google(mime: str, data: bytes) -> dict[str, Any]:
    return {"contents": [{"parts": [{"inlineData": {"mimeType": mime, "data": b64(data)}}]}]}


@pytest.mark.parametrize("data", [LIKE_GIF, LIKE_PDF, b"BMI,weight,height\n" + SAID, b"MM\0*" + SAID, b"II*\0" + SAID])
@pytest.mark.parametrize("mime", ["text/plain", "Text/CSV; charset=utf-8", "text/x-python"])
def test_a_text_that_begins_like_something_else_is_set_aside_for_as_a_text(data: bytes, mime: str) -> None:
    for wire, body in ((Wire.GEMINI, google(mime, data)), (Wire.RESPONSES, file_part(mime, data))):
        asked = request(wire, **body)
        beside = charges.inline("google:gemini-3.1-pro-preview", pieces(wire, dict(asked.body)))
        assert beside.size == 0
        assert estimates.prompt_bound(asked, 1_000_000, 2.0, beside) > len(b64(SAID)) / 2
        assert estimates.too_long(asked, len(asked.raw) * 2 // 3, beside) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (file_part("", LIKE_PDF), [Document(len(b64(LIKE_PDF)), 1, text=True)]),
        (file_part("", LIKE_PDF, filename="A.PDF"), [Document(len(b64(LIKE_PDF)), 1)]),
        (file_part("", LIKE_PDF, filename="a.docx"), [Other(len(b64(LIKE_PDF)))]),
        (file_part("application/octet-stream", LIKE_GIF), [Picture(len(b64(LIKE_GIF)), 1, 1, text=True)]),
        (file_part("application/zip", LIKE_GIF), [Other(len(b64(LIKE_GIF)))]),
        (file_part("audio/mp3", LIKE_GIF), [Other(len(b64(LIKE_GIF)))]),
        (file_part("video/mp4", b"\0\0\0\x18ftypmif1"), [Other(16)]),
        (file_part("image/png", LIKE_PDF), [Other(len(b64(LIKE_PDF)))]),
        (file_part("image/bmp", b"BM" + SAID), [Picture(len(b64(b"BM" + SAID)))]),
        (file_part("image/svg+xml", b"<svg/>"), [Picture(8, text=True)]),
        (file_part("text/plain", SAID), []),
    ],
)
def test_what_is_called_one_thing_and_begins_like_another(body: dict[str, Any], expected: list[Piece]) -> None:
    assert list(pieces(Wire.RESPONSES, body)) == expected


# --- what they are charged for ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "width", "height", "billed", "most"),
    [
        # What the vendors say that a picture of that size comes to, and what is enough for it.
        ("anthropic:claude-opus-5-5", 1920, 1080, 2_768, 3_000),
        ("anthropic:claude-opus-5", 3840, 2160, 4_784, 5_200),
        ("anthropic:claude-sonnet-4-5", 1000, 1000, 1_334, 1_500),
        ("openai:gpt-6-astra", 4032, 3024, 14_364, 14_500),
        ("openai:gpt-6-astra", 1024, 1024, 1_229, 1_400),
        ("openai:gpt-5.5", 4032, 3024, 11_868, 12_200),
        ("openai:gpt-5.4-mini", 1024, 1024, 1_659, 1_900),
        ("openai:gpt-4o", 2048, 4096, 1_105, 2_000),
        ("openai:gpt-4o-mini", 1024, 1024, 25_501, 50_000),
        ("google:gemini-3.8-flash", 4032, 3024, 2_240, 2_500),
        ("google:gemini-2.5-pro", 960, 540, 1_548, 2_500),
        ("google:gemini-2.5-pro", 3840, 2160, 15 * 258, 4_200),
        ("chat:qwen", 1920, 1080, 2_691, 6_600),
    ],
)
def test_a_picture_is_set_aside_for_at_what_its_vendor_charges(
    name: str, width: int, height: int, billed: int, most: int
) -> None:
    found = charges.inline(name, [Picture(77, width, height)])
    assert found.size == 77
    assert found.tokens is not None
    assert billed <= found.tokens <= most


NAMES = ("anthropic:claude-x", "openai:gpt-5.5", "openai:of-tomorrow", "google:gemini-2.5-pro", "google:g", "chat:x")


@given(st.sampled_from(NAMES), st.integers(1, 8_192), st.integers(1, 8_192))
def test_a_picture_of_unknown_size_is_the_largest(name: str, width: int, height: int) -> None:
    known, unknown = (charges.inline(name, [one]).tokens for one in (Picture(1, width, height), Picture(1)))
    assert known is not None
    assert unknown is not None
    assert 0 < known <= unknown


def test_documents_and_sound_count_by_pages_and_seconds_and_what_is_not_known_as_the_window() -> None:
    for name in NAMES:
        one, ten = (charges.inline(name, [Document(1, count)]).tokens for count in (1, 10))
        assert one is not None
        assert ten is not None
        assert ten - one == 9 * (one - 100), "as many pages, as many tokens"
        assert one > 3_000 + 1_120
        assert charges.inline(name, [Document(1)]).tokens is None
        assert charges.inline(name, [Sound(1)]).tokens is None
        assert charges.inline(name, [Picture(1, 9, 9), Other(1)]).tokens is None
    assert charges.inline("google:g", [Sound(1, 60.0)]).tokens == 60 * 32 * 4 + 100
    assert charges.inline("openai:gpt-audio", [Sound(1, 60.0)]).tokens == 700
    assert charges.inline("anthropic:claude-x", [Sound(1, 60.0)]).tokens is None


def test_what_is_no_text_counts_by_its_charge_and_not_by_its_bytes() -> None:
    price = Price(input=3.0, output=15.0)
    asked = request(Wire.MESSAGES, messages=["x" * 2_000, "p" * 60_000], max_tokens=10)
    plain = estimates.worst(asked, price, 200_000, None, 2.0)
    shown = estimates.worst(asked, price, 200_000, None, 2.0, Inline(60_000, 1_600))
    assert plain.input - shown.input == 30_000 - 1_600
    assert estimates.worst(asked, price, 200_000, None, 2.0, Inline(60_000, None)).input == 200_000
    assert estimates.too_long(asked, 1_000) is not None
    assert estimates.too_long(asked, 1_000, Inline(60_000, 1_600)) is None
