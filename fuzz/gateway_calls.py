"""A request of an agent to the gateway, and the stream of a provider that passes it.

Rules
- A request is refused with a ValueError or read; what is read has a worst case that is positive, covers the longest
  answer that it allows, and can be priced and routed. For the model that it names it goes on byte for byte, unless its
  usage has to be asked for; with a limit it says that limit when it is read again.
- What lies in a request beside text, or is called so, is measured without an error, and counts for something.
- Whatever a provider sends passes unchanged, in chunks of any size, and comes to a usage that can be stored.
"""

import base64
import contextlib
import json
import zlib
from collections.abc import Sequence
from typing import Final

from quarterdeck.gateway import charges, estimates, inline, pages, pictures, routes, sounds, wires
from quarterdeck.gateway.allowance import Spent
from quarterdeck.gateway.meter import Meter
from quarterdeck.gateway.unmetered import unmetered
from quarterdeck.gateway.wires import Operation, Place, Wire
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.prices import cost

INSTRUMENTED = ("quarterdeck.gateway", "quarterdeck.models")
WORDS = (
    *('{"model":"', '"stream":true', '"max_tokens":', '"max_output_tokens":', '"max_completion_tokens":', '"n":'),
    *('"generationConfig":{', '"maxOutputTokens":', '"candidateCount":', '"messages":[', '"input":', '"contents":['),
    *('"tools":[{"type":"', "web_search", '"service_tier":"priority"', '"stream_options":{"include_usage":'),
    *("data: ", "\n\n", "event: error", '"usage":{', '"input_tokens":', '"usageMetadata":{', '"promptTokenCount":'),
    *('"delta":{', '"finish_reason":"stop"', '"type":"message_stop"', '"choices":[]', "\\ud83d", "1e999", "-1", "NaN"),
)
WINDOW: Final = 100_000
LIMIT: Final = 2_000
PRICE: Final = Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)
PDF: Final = (
    b"%PDF-1.7\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page >>\nendobj\n"
    b"4 0 obj\n<< /Type /ObjStm /Filter /FlateDecode >>\nstream\n" + zlib.compress(b"<<>>") + b"\nendstream\nendobj"
)
MODELS: Final = ("anthropic:a", "openai:b", "chat:c", "google:d")


def one(data: bytes) -> None:
    """Read it as a request and as an answer in each format, and as what may lie in a request."""
    _shown(data)
    for wire in Wire:
        _request(wire, data)
        _answer(wire, data)


def _request(wire: Wire, data: bytes) -> None:
    try:
        asked = wires.read(Place(wire, Operation.CALL, "d" if wire is Wire.GEMINI else ""), data, "key=qd-x&alt=sse")
    except ValueError:
        return
    assert "qd-x" not in wires.upstream_path(asked, "m")
    routes.candidates(wire, asked.model, MODELS)
    assert isinstance(unmetered(asked), str)
    beside = charges.inline("anthropic:a", inline.pieces(wire, asked.body, inline.allowance(len(data))))
    assert beside.size + beside.doubtful <= len(data)
    assert 0 < estimates.prompt_bound(asked, WINDOW, estimates.BYTES_PER_TOKEN, beside) <= WINDOW
    bound = estimates.worst(asked, PRICE, WINDOW, 8_000, estimates.BYTES_PER_TOKEN)
    assert 0 < bound.input <= WINDOW
    assert bound.nusd >= cost(Usage(input=bound.input, output=bound.output), PRICE)
    if (limit := asked.output_limit()) is not None:
        assert bound.output == min(limit, WINDOW * asked.choices())
    if not wires.wants_usage(asked):
        assert wires.rewritten(asked, asked.model) == data
    again = wires.read(asked.place, wires.rewritten(asked, asked.model, LIMIT))
    if asked.choices() <= LIMIT:
        held = again.output_limit()
        assert held is not None and held <= LIMIT, (held, data)
    assert again.messages == asked.messages
    json.loads(asked.prefix)


def _shown(data: bytes) -> None:
    allowance = inline.allowance(len(data))
    with contextlib.suppress(Spent):
        assert pages.count(data, allowance) >= 0
    width, height = pictures.extent(data, inline.allowance(len(data)))
    assert (width > 0) == (height > 0)
    assert sounds.seconds(data, inline.allowance(len(data))) >= 0


def _answer(wire: Wire, data: bytes) -> None:
    for streams in (True, False):
        meter = Meter(wire, "m", streams=streams)
        size = 1 + len(data) % 13
        passed = b"".join(meter.read(data[at : at + size]) for at in range(0, len(data), size)) + meter.rest()
        assert passed == data
        found = meter.finish(WINDOW, LIMIT)
        usage = found.usage
        assert min(usage.input, usage.cache_read, usage.cache_write, usage.output, usage.long_write) >= 0
        assert usage.long_write <= usage.cache_write
        assert found.begun or usage == Usage()
        found.message.model_dump_json()


def seeds() -> Sequence[bytes]:
    """A request and a stream of each format."""
    requests: tuple[dict[str, object], ...] = (
        {"model": "a", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "x"}], "system": "s"},
        {"model": "b", "input": [{"role": "user", "content": "x"}], "max_output_tokens": 9, "tools": [{"type": "f"}]},
        {"model": "c", "messages": [], "stream": True, "n": 2, "max_tokens": 5},
        {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 7, "candidateCount": 2}},
    )
    events: tuple[dict[str, object], ...] = (
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "response.completed", "response": {"status": "completed", "usage": {"input_tokens": 3}}},
        {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}},
        {"candidates": [{"content": {"parts": [{"text": "x"}]}}], "usageMetadata": {"promptTokenCount": 3}},
    )
    streams = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    shown: tuple[bytes, ...] = (
        PDF,
        b"GIF89a\x09\x00\x09\x00\x00\x00\x00,\0\0\0\0\x09\0\x09\0",
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data",
    )
    source = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(PDF).decode()}
    document = {"model": "a", "max_tokens": 9, "messages": [{"content": [{"type": "document", "source": source}]}]}
    bodies = [json.dumps(body).encode() for body in (*requests, document)]
    return [*bodies, *shown, *streams, b"".join(streams)]
