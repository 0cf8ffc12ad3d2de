"""What a request says and what is answered, whatever the wire format. Pure.

Rules
- A request is heard completely before anything is decided: nothing below this file knows a wire format.
- The step of a conversation is the number of tool-calling assistant turns since the last plain prompt. A plain
  prompt is a user message that is neither a tool result, nor speaks beside or right after one, nor consists of
  reminders alone (`<reminder>...</reminder>`, `<system-reminder>...`). So a retry, a resume or a nudge never restarts
  the script.
- Everything an answer contains follows from the request, ids included: the same request gets the same answer.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from quarterdeck.kernel.entities import Usage

_REMINDER: Final = re.compile(r"<([a-z_-]*reminder)\b.*?</\1>", re.IGNORECASE | re.DOTALL)


class Format(StrEnum):
    MESSAGES = "messages"
    RESPONSES = "responses"
    CHAT = "chat"
    OLLAMA = "ollama"
    GEMINI = "gemini"


@dataclass(frozen=True, slots=True)
class Spoken:
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    text: str = ""
    """Plain text and the text of tool results."""
    prompt: str = ""
    """Plain text alone."""
    calls: int = 0
    result: bool = False
    """Holds (or is) a tool result."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool that the client offers."""

    name: str
    parameters: dict[str, Any]
    group: str = ""
    """The namespace that its calls have to name."""
    within: str = ""
    """The tool whose programs can call it; "" = it is called itself."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the prompt in the order in which providers cache it."""

    text: str
    breakpoint: Literal["", "5m", "1h"] = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """One request."""

    format: Format
    model: str
    stream: bool
    system: str
    spoken: tuple[Spoken, ...]
    tools: tuple[Offered, ...]
    segments: tuple[Segment, ...]
    max_output: int | None = None
    include_usage: bool = True
    """Whether a stream ends with its usage (Chat Completions only on request)."""
    window: int | None = None
    """The context window that the client set with this request (Ollama's num_ctx)."""
    cache_key: str = ""


@dataclass(frozen=True, slots=True)
class Called:
    """One tool call of an answer; `arguments` is the text that goes over the wire, valid JSON or not."""

    id: str
    name: str
    arguments: str
    group: str = ""
    """The namespace that the tool was offered in."""
    program: bool = False
    """`arguments` is a program for the tool, not JSON."""


class Ends(StrEnum):
    END = "end"
    TOOLS = "tools"
    LENGTH = "length"
    REFUSED = "refused"
    FILTERED = "filtered"
    PAUSED = "paused"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    id: str
    text: str
    thinking: str
    calls: tuple[Called, ...]
    ends: Ends
    usage: Usage
    """Normalised; each wire format counts in its own way."""
    long_write: int = 0
    """How many of `usage.cache_write` are of the one-hour kind."""
    thought: int = 0
    """How many of `usage.output` went into thinking."""
    with_usage: bool = True


def _plain(message: Spoken) -> bool:
    return bool(_REMINDER.sub("", message.prompt).strip())


def last_prompt(heard: Heard) -> int:
    """Index of the last plain prompt; -1 where there is none."""
    found = -1
    after_result = False
    for index, message in enumerate(heard.spoken):
        after_result = message.role == "user" and (message.result or after_result)
        if message.role == "user" and not after_result and _plain(message):
            found = index
    return found


def step(heard: Heard) -> int:
    """Which step of the script this request asks for."""
    return sum(1 for message in heard.spoken[last_prompt(heard) + 1 :] if message.role == "assistant" and message.calls)


def first_prompt(heard: Heard) -> str:
    """Text of the first user message."""
    return next((message.prompt for message in heard.spoken if message.role == "user"), "")


def prompts(heard: Heard) -> str:
    """Text of all user messages, tool results left out."""
    return "\n".join(message.prompt for message in heard.spoken if message.role == "user" and message.prompt)


def prompt(heard: Heard) -> str:
    """Text of the last plain prompt."""
    index = last_prompt(heard)
    return heard.spoken[index].prompt if index >= 0 else ""


def last_message(heard: Heard) -> str:
    """Text of the last user message, tool results included."""
    return next((message.text for message in reversed(heard.spoken) if message.role == "user"), "")


def place(heard: Heard) -> str:
    """Where in which conversation a request stands: the same for a retry and for a nudged repetition."""
    asked = [_REMINDER.sub("", text).strip() for text in (first_prompt(heard), prompt(heard))]
    parts = (heard.format, heard.model, heard.system, *asked, str(step(heard)))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def answer_id(heard: Heard) -> str:
    """Id of the answer to this request: a digest of the whole prompt."""
    digest = hashlib.sha256(heard.model.encode())
    for segment in heard.segments:
        digest.update(segment.text.encode())
    return digest.hexdigest()[:24]
