"""Token estimates without a tokenizer. Pure.

Rules
- An estimate is for reservations and for usage that never arrived: rather too high than too low.
- Characters per token depend on what the text is; measured: about 5.1 for prose, 3.7 for Python, 2.8 for JSON. The
  share of punctuation and digits tells them apart. Characters beyond ASCII count as a token each.
- Real usage calibrates: `learn` moves a model's factor towards what was really counted.
"""

import json
import math
import re
from typing import Final

from quarterdeck.models.port import Message, Opaque, Request, Text, ToolCall, ToolOutcome

_DENSE: Final = re.compile(r"[^A-Za-z\s]")
_WIDE: Final = re.compile(r"[^\x00-\x7f]")
_PER_MESSAGE: Final = 8
"""Tokens of framing around a message or tool."""


def estimate(text: str) -> int:
    """Tokens of `text`, rather too high."""
    if not text:
        return 0
    wide = len(_WIDE.findall(text))
    plain = len(text) - wide
    dense = (len(_DENSE.findall(text)) - wide) / max(1, plain)
    per_token = 4.5 if dense < 0.08 else 3.4 if dense < 0.22 else 2.6
    return wide + math.ceil(plain / per_token)


def of_message(message: Message) -> int:
    """Tokens of one message of a prompt, rather too high."""
    total = _PER_MESSAGE
    for block in message.blocks:
        match block:
            case Text() | ToolOutcome():
                total += estimate(block.text)
            case ToolCall():
                total += _PER_MESSAGE + estimate(block.name) + estimate(json.dumps(block.arguments))
            case Opaque():
                total += estimate(json.dumps(block.data))
    return total


def of_request(request: Request) -> int:
    """Input tokens of a request, rather too high."""
    tools = sum(
        _PER_MESSAGE + estimate(tool.name) + estimate(tool.description) + estimate(json.dumps(tool.parameters))
        for tool in request.tools
    )
    return estimate(request.system) + tools + sum(of_message(message) for message in request.messages)


def learn(factor: float, estimated: int, real: int) -> float:
    """The factor by which a model's estimates are multiplied, after a call whose tokens were really counted. Bounded to
    [0.5, 2], so that one odd call cannot spoil reservations."""
    if estimated <= 0 or real <= 0:
        return factor
    return min(2.0, max(0.5, 0.8 * factor + 0.2 * real / estimated))
