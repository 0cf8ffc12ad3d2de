"""What an agent that speaks ACP says on its standard output: from the bytes to the events that record it.

Rules
- Declared: AgentFailed. The SDK's own complaints count as a bug of ours: what it would stumble over is kept from it.
- Every fact can be recorded, and every permission request gets an answer that is one of its options, or `cancelled`;
  one that the policy refuses never gets an allowing one.
- Whatever it says, nothing waits for ever once its output ended.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

from fuzz.shapes import Choices, as_json
from quarterdeck.agents.acp_client import Conversation
from quarterdeck.agents.acp_permissions import action_of, choose, unlisted
from quarterdeck.agents.acp_record import Recorder
from quarterdeck.agents.acp_updates import Updates
from quarterdeck.agents.acp_values import Permission
from quarterdeck.agents.port import Assignment
from quarterdeck.govern.policy import DefaultPolicy, decide_safely
from quarterdeck.govern.port import Decision
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import AgentFailed
from quarterdeck.workplace.port import Session

INSTRUMENTED = ("quarterdeck.agents", "quarterdeck.tools", "quarterdeck.govern")
WORDS = (
    *('"jsonrpc":"2.0"', '"id":0', '"id":1', '"id":2', '"method":"session/update"', '"params":{', '"result":{'),
    *('"method":"session/request_permission"', '"method":"fs/read_text_file"', '"update":{', '"sessionUpdate":'),
    *('"tool_call"', '"tool_call_update"', '"agent_message_chunk"', '"plan"', '"usage_update"', '"rawInput":'),
    *('"toolCallId":', '"options":[', '"optionId":', '"kind":"allow_once"', '"status":"completed"', "\\ud83d", "\n"),
)

_PATIENCE: Final = 50
"""Turns of the loop for which it waits to be spoken to."""
_CALL: Final = {"toolCallId": "t", "title": "Edit a.py", "kind": "edit", "rawInput": {"file_path": "/workspace/a.py"}}
_OPTIONS: Final = [{"optionId": kind, "kind": kind, "name": kind} for kind in ("allow_once", "reject_once")]
_AGENT: Final = {"protocolVersion": 1, "agentCapabilities": {"mcpCapabilities": {"http": True}}, "authMethods": []}


def _update(**fields: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s", "update": fields}}


_SAYS: Final[tuple[dict[str, Any], ...]] = (
    {"jsonrpc": "2.0", "id": 0, "result": _AGENT},
    {"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "s", "modes": {"currentModeId": "a", "availableModes": []}}},
    {"jsonrpc": "2.0", "id": 2, "result": {"stopReason": "end_turn"}},
    {"jsonrpc": "2.0", "id": 2, "error": {"code": -32000, "message": "no", "data": {"a": 1}}},
    _update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": "Hello"}),
    _update(sessionUpdate="tool_call", status="pending", **_CALL),
    _update(sessionUpdate="tool_call_update", status="completed", content=[{"type": "diff", "newText": "x"}], **_CALL),
    _update(sessionUpdate="plan", entries=[{"content": "Look", "status": "pending", "priority": "low"}]),
    _update(sessionUpdate="usage_update", used=1, size=2, cost={"amount": 0.5, "currency": "USD"}),
    {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "session/request_permission",
        "params": {"sessionId": "s", "toolCall": _CALL, "options": _OPTIONS},
    },
    {"jsonrpc": "2.0", "id": "8", "method": "fs/read_text_file", "params": {"sessionId": "s", "path": "/etc/passwd"}},
    {"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": 1, "agentCapabilities": {"mcpCapabilities": ""}}},
    {"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": 1, "agentCapabilities": ""}},
)


class _Process:
    """An agent that says something more with each message it gets, and nothing after that."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = list(parts)
        self._more = asyncio.Event()

    async def write(self, data: bytes) -> None:
        assert data.endswith(b"\n") and data.count(b"\n") == 1
        self._more.set()

    async def read(self) -> bytes:
        if not self._parts:
            return b""
        for _ in range(_PATIENCE):
            if self._more.is_set():
                break
            await asyncio.sleep(0)
        self._more.clear()
        return self._parts.pop(0) or b"\n"


class _Memory:
    """A journal that keeps nothing but proves that it could."""

    async def put(self, data: bytes) -> str:
        return str(len(data))

    def append_soon(self, claim: object, *events: e.EventBase) -> "asyncio.Future[None]":
        for event in events:
            assert len(e.encode(event)) <= e.MAX_EVENT_BYTES
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class _Listener:
    def __init__(self) -> None:
        self.updates = Updates()
        self.recorder = Recorder(cast(Any, _Memory()), cast(Any, None))

    async def updated(self, update: Mapping[str, Any]) -> None:
        await self.recorder.keep(self.updates.take(update))

    async def permission(self, asked: Permission) -> str | None:
        action = action_of(_order(), asked, "/workspace")
        decision: Decision = unlisted(_order(), action) or decide_safely(DefaultPolicy(), action)
        assert decision.rules != ("policy-error",), decision.reason
        chosen = choose(decision, asked.options)
        kinds = [option.kind for option in asked.options if option.id == chosen]
        assert chosen is None or kinds
        assert decision.verdict == "allow" or chosen is None or any(kind.startswith("reject") for kind in kinds)
        return chosen


@cache
def _order() -> Assignment:
    nothing: Any = None
    agent = Agent(name="a", command=("x",), tools=("read", "edit", "submit"))
    config = RunConfig(deck=DeckConfig())
    return Assignment("r", "r.t.1", 1, 1, agent, claim=nothing, sandbox=nothing, config=config, goal="")


class _Complaints(logging.Handler):
    """What the SDK says about what reached it."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None:
            _STRAY.append(record.getMessage())


_STRAY: Final[list[str]] = []


@cache
def _loop() -> asyncio.AbstractEventLoop:
    logging.getLogger().addHandler(_Complaints())
    return asyncio.new_event_loop()


async def _talk(parts: Sequence[bytes]) -> None:
    listener = _Listener()
    conversation = Conversation(cast(Session, _Process(parts)), listener)
    try:
        async with asyncio.timeout(20.0):
            greeting = await conversation.initialize(10.0)
            begun = await conversation.begin("/workspace", None, greeting.http_mcp, 10.0)
            await conversation.prompt(begun.id, "Do it.")
    except AgentFailed as error:
        f"{error} {error.kind}".encode("utf-8", "replace")
    except TimeoutError as error:
        raise AssertionError("the agent is waited for for ever") from error
    finally:
        await conversation.close()
    await listener.recorder.keep(listener.updates.flush())
    await listener.recorder.close_calls(listener.updates.unfinished())


def one(data: bytes) -> None:
    """Three turns of speech: what is said as it is, or messages mangled."""
    choices, parts = Choices(data), []
    for turn in range(3):
        said = as_json(_SAYS[turn]) + b"\n" if choices.number() < 192 else b""
        for _ in range(choices.number() % 3):
            said += as_json(choices.mangled(choices.pick(_SAYS))) + b"\n"
        parts.append(said + choices.chunk())
    parts.append(choices.rest())
    _STRAY.clear()
    _loop().run_until_complete(_talk(parts))
    assert not _STRAY, _STRAY


def seeds() -> Sequence[bytes]:
    """Each message in each turn, and what is no message at all."""
    found = [b"", b"\0\0\0" * 3]
    for number in range(len(_SAYS)):
        found += [bytes([0, 0, 0]) * turn + bytes([0, 1, number, 0, 0]) for turn in range(3)]
    whole = [as_json(message) + end for message in _SAYS for end in (b"", b"\n")]
    found += [bytes([255, 0, min(255, len(text))]) + text[:255] for text in whole]
    found += [b"\xff\0\x05[1,2]", b"\xff\0\x04null", b"\xff\0\xff" + b"[" * 255]
    return list(dict.fromkeys(found))
