"""A stream of Google's generateContent format, from bytes to a reply.

Rules
- As in `streams`: declared is ModelFailed; money, storage and the next request hold whatever came.
"""

from collections.abc import Sequence
from typing import Any, Final

from fuzz.streams import Event, provider, stream_seeds
from quarterdeck.models import google_client
from quarterdeck.models.providers import Way

INSTRUMENTED = ("quarterdeck.models",)
WORDS = (
    *('"candidates":', '"content":', '"parts":', '"text":', '"functionCall":', '"args":', '"usageMetadata":'),
    *('"finishReason":', "STOP", "MAX_TOKENS", "SAFETY", '"thought":true', '"thoughtSignature":', '"promptFeedback":'),
    *('"promptTokenCount":', '"cachedContentTokenCount":', '"details":', "RetryInfo", "data: ", "\\ud83d"),
)

_one = provider(
    "google:gemini-some",
    lambda deadlines: google_client.connect(Way("google", "key", "http://model.invalid", deadlines)),
)


def _event(*parts: dict[str, Any], finish: str | None = None, **usage: int) -> Event:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return "", {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "some"}


STREAM: Final[Sequence[Event]] = (
    _event({"text": "hm", "thought": True}, promptTokenCount=9),
    _event({"text": "It \ud83d"}, promptTokenCount=9),
    _event({"text": "\ude00 is"}, promptTokenCount=9),
    _event(
        {"functionCall": {"name": "read", "args": {"path": "a"}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "read", "args": {}, "id": "f1"}},
    ),
    _event(
        {"text": "", "thoughtSignature": "bGFzdA=="},
        finish="STOP",
        promptTokenCount=9,
        cachedContentTokenCount=2,
        candidatesTokenCount=7,
        thoughtsTokenCount=3,
    ),
)


def one(data: bytes) -> None:
    """Answer with it."""
    _one().one(data, STREAM)


def seeds() -> Sequence[bytes]:
    """The stream above, whole and broken."""
    return stream_seeds(STREAM, lines=False)
