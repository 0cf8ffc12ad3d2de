"""What an agent reports about its own work, as facts to keep. Pure: a fold over its session updates.

Rules
- Chunks of one message are one fact; a tool call is two: that it was begun, and how it ended.
- Everything is bounded: each text, the number of facts of each kind, and the number of updates. What is beyond a bound
  is counted, not kept; an agent that floods is told apart from one that talks much.
- What leave may be asked for is held as it came while its call is under way, and nothing of it afterwards. A call of
  which nothing is held is known as such: nobody gets leave for it by its id alone. What is held is measured when it
  comes, and not again with each word about its call.
- An update that is not understood is counted and left out: the protocol grows.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from quarterdeck.agents.acp_values import Announced
from quarterdeck.kernel.entities import TodoItem, to_nusd
from quarterdeck.kernel.failures import AgentFailed, FailureClass
from quarterdeck.tools.bounds import bounded, readable

UPDATES: Final = 200_000
"""More than this is a flood."""
MESSAGES: Final = 2_000
CALLS: Final = 5_000
"""Calls that are facts, and calls that are under way at the same time."""
PLANS: Final = 500
TEXT_LIMIT: Final = 32 * 1024
"""Bytes kept of one message."""
INPUT_LIMIT: Final = 16 * 1024
OUTPUT_LIMIT: Final = 16 * 1024
HELD: Final = 32 * 1024 * 1024
"""Characters held of all calls that are under way, as they came: leave may be asked for by a call's id alone."""
_GATHERED: Final = 256 * 1024
"""Characters held of one message until it is complete; of a longer one, its beginning and what comes after."""
_STATUS: Final = {"pending": "open", "in_progress": "doing", "completed": "done"}
_ENDED: Final = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the agent, or of its reasoning."""

    text: str
    thought: bool


@dataclass(frozen=True, slots=True)
class Began:
    """A tool call was begun."""

    call: str
    title: str
    kind: str
    input: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A tool call ended, by the agent's account."""

    call: str
    title: str
    kind: str
    ok: bool
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Planned:
    """The agent changed its list."""

    items: tuple[TodoItem, ...]


Fact = Said | Began | Ended | Planned


@dataclass(slots=True)
class _Call:
    title: str = ""
    kind: str = ""
    input: str = ""
    output: str = ""
    name: str = ""
    called: str = ""
    """The title as it came: some clients write the command there, and nowhere else."""
    given: Any = None
    places: tuple[str, ...] = ()
    content: tuple[Mapping[str, Any], ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    """Characters of what is held as it came, by what it is."""
    lost: bool = False
    told: bool = True
    """It is a fact; of more calls than that only what leave may be asked for is held."""

    @property
    def size(self) -> int:
        """Characters of what is held as it came."""
        return sum(self.sizes.values())


@dataclass(slots=True)
class Updates:
    """The fold."""

    seen: int = 0
    left_out: int = 0
    """Facts beyond a bound, and updates that were not understood."""
    tool_calls: int = 0
    """Tool calls begun."""
    cost_nusd: int | None = None
    """Of the session so far, as the agent reports it."""
    _calls: dict[str, _Call] = field(default_factory=dict)
    """Those under way."""
    _gone: set[str] = field(default_factory=set)
    """Those of which nothing is held: they have ended, or there were too many."""
    _text: list[str] = field(default_factory=list)
    _length: int = 0
    _thought: bool = False
    _messages: int = 0
    _plans: int = 0
    _plan: tuple[TodoItem, ...] = ()
    _held: int = 0

    def take(self, update: Mapping[str, Any]) -> list[Fact]:
        """What is known by this update that was not before. Raises AgentFailed for a flood."""
        self.seen += 1
        if self.seen > UPDATES:
            raise AgentFailed(f"the agent sent more than {UPDATES} updates", FailureClass.TOOL)
        kind = update.get("sessionUpdate")
        if kind in ("agent_message_chunk", "agent_thought_chunk"):
            return list(self._chunk(_text_of(update.get("content")), kind == "agent_thought_chunk"))
        found = self.flush()
        if kind in ("tool_call", "tool_call_update"):
            found += self._call(update)
        elif kind == "plan":
            found += self._planned(update.get("entries"))
        elif kind == "usage_update":
            self._cost(update.get("cost"))
        elif kind not in ("user_message_chunk", "available_commands_update", "current_mode_update"):
            self.left_out += 1
        return found

    def flush(self) -> list[Fact]:
        """The message that is complete because something else came."""
        text, self._text, self._length = "".join(self._text), [], 0
        if not text.strip():
            return []
        self._messages += 1
        if self._messages > MESSAGES:
            self.left_out += 1
            return []
        return [Said(bounded(readable(text), TEXT_LIMIT)[0], self._thought)]

    def unfinished(self) -> list[Ended]:
        """Tool calls that the agent began and never told the end of."""
        return [
            Ended(name, call.title, call.kind, False, call.input, call.output)
            for name, call in self._calls.items()
            if call.told
        ]

    def announced(self, name: str) -> Announced | None:
        """What was said of a call; None = it was never heard of."""
        call = self._calls.get(_id_of(name))
        if call is None:
            return Announced("", "", lost=True) if _id_of(name) in self._gone else None
        return Announced(call.called, call.kind, call.name, call.given, call.places, call.content, call.lost, call.size)

    def _chunk(self, text: str, thought: bool) -> Iterator[Fact]:
        if self._text and thought != self._thought:
            yield from self.flush()
        self._thought = thought
        self._length += len(text)
        if self._length > _GATHERED and len(self._text) > 1:
            self._text = [self._text[0][:_GATHERED], text]  # the beginning, and whatever comes last
            self._length = sum(map(len, self._text))
        else:
            self._text.append(text)

    def _call(self, update: Mapping[str, Any]) -> list[Fact]:
        name = _id_of(update.get("toolCallId", ""))
        status = update.get("status")
        call = self._calls.get(name)
        new = call is None
        if call is None:
            if name in self._gone and (update["sessionUpdate"] != "tool_call" or status in _ENDED):
                return []  # more about a call that has ended; only a call that is begun may be another one of that id
            call = self._begun(name)
            if call is None:
                return []
        call.title = readable(str(update.get("title") or call.title))[:300]
        call.kind = readable(str(update.get("kind") or call.kind))[:40]
        if update.get("rawInput") not in (None, {}):
            call.input = shown(update["rawInput"], INPUT_LIMIT)
        if output := _output_of(update):
            call.output = output
        found: list[Fact] = [Began(name, call.title, call.kind, call.input)] if new else []
        if status in _ENDED:
            found.append(Ended(name, call.title, call.kind, status == "completed", call.input, call.output))
            self._let_go(call)
            del self._calls[name]
            self._gone.add(name)
        else:
            self._hold(call, update)
        return found if call.told else []

    def _begun(self, name: str) -> _Call | None:
        """A call that was not known; None = there are too many."""
        self.tool_calls += 1
        told = self.tool_calls <= CALLS
        if len(self._calls) >= CALLS:
            self._gone.add(name)
            self.left_out += 1
            return None
        self._gone.discard(name)
        self.left_out += not told
        call = self._calls[name] = _Call(told=told)
        return call

    def _hold(self, call: _Call, update: Mapping[str, Any]) -> None:
        """Keep what leave may be asked for, as it came."""
        call.name = _name_of(update) or call.name
        title, given, content, places = (update.get(key) for key in ("title", "rawInput", "content", "locations"))
        before = call.size
        if title:
            call.called = str(title)
            call.sizes["title"] = _size(call.called)
        if given not in (None, {}):
            call.given, call.sizes["input"] = given, _size(given)
        if isinstance(content, list):
            call.content = tuple(part for part in content if isinstance(part, dict))
            call.sizes["content"] = _size(content)
        if isinstance(places, list):
            call.places = tuple(str(place["path"]) for place in places if isinstance(place, dict) and "path" in place)
            call.sizes["places"] = _size(places)
        self._held += call.size - before
        if self._held > HELD:
            self._let_go(call)
            call.lost = True

    def _let_go(self, call: _Call) -> None:
        self._held -= call.size
        call.called, call.given, call.content, call.places = "", None, (), ()
        call.sizes.clear()

    def _planned(self, entries: Any) -> list[Fact]:
        items = []
        for entry in entries[:50] if isinstance(entries, list) else ():
            text = readable(str(entry.get("content", "")))[:500].strip() if isinstance(entry, dict) else ""
            if text:
                items.append(
                    TodoItem.model_validate({"text": text, "status": _STATUS.get(str(entry.get("status")), "open")})
                )
        plan = tuple(items)
        if plan == self._plan:
            return []
        self._plan = plan
        self._plans += 1
        if self._plans > PLANS:
            self.left_out += 1
            return []
        return [Planned(plan)]

    def _cost(self, cost: Any) -> None:
        amount = cost.get("amount") if isinstance(cost, dict) and cost.get("currency") == "USD" else None
        if isinstance(amount, int | float) and 0 <= amount < 1e6:
            self.cost_nusd = max(self.cost_nusd or 0, to_nusd(amount))


def _id_of(call: Any) -> str:
    """What a call is known by here: JSON can spell what cannot be stored."""
    return readable(str(call))[:200]


def shown(value: Any, limit: int) -> str:
    """Whatever an agent sent, as bounded text."""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False)
        except (ValueError, RecursionError):
            value = "(cannot be shown)"
    return bounded(readable(value), limit)[0]


def _name_of(update: Mapping[str, Any]) -> str:
    """By which the agent's client knows the tool; empty where it does not say so."""
    meta = update.get("_meta")
    return str(update.get("name") or "")[:200] or name_in(meta if isinstance(meta, dict) else {})


def name_in(meta: Mapping[str, Any]) -> str:
    """The tool's registered name in what Claude Code's adapter says beside the protocol; empty where there is none."""
    claude = meta.get("claudeCode")
    return str(claude.get("toolName") or "")[:200] if isinstance(claude, dict) else ""


def _size(value: Any) -> int:
    """Characters of a value, about. Without recursion: it may be deep."""
    size, left = 0, [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            size += len(each)
        elif isinstance(each, dict):
            size += sum(map(len, each))
            left.extend(each.values())
        elif isinstance(each, list):
            left.extend(each)
        size += 8
    return size


def _output_of(update: Mapping[str, Any]) -> str:
    """What a tool call led to: its content, else what the agent calls its raw output."""
    content = update.get("content")
    parts = [_text_of(part) for part in content[:20]] if isinstance(content, list) else []
    text = "\n".join(part for part in parts if part)
    if (not text or text.startswith("[terminal")) and update.get("rawOutput") is not None:
        return shown(update["rawOutput"], OUTPUT_LIMIT)
    return bounded(readable(text), OUTPUT_LIMIT)[0]


def _text_of(part: Any) -> str:
    """The text of a content block, of content that holds one, or of a diff."""
    if not isinstance(part, dict):
        return ""
    kind = part.get("type")
    if kind == "text":
        return str(part.get("text", ""))
    if kind == "content":
        return _text_of(part.get("content"))
    if kind == "diff":
        return f"--- {part.get('path', '')}\n{str(part.get('newText', ''))[:OUTPUT_LIMIT]}"
    return f"[{kind}]" if kind else ""
