"""The Agent Client Protocol over a session in a sandbox. The only file that knows the protocol's SDK.

Rules
- One JSON message a line. A line that is no message is counted and skipped; a line without end, and more bytes than an
  agent has to say, end the conversation.
- Session updates are handed over in order, before the answer that follows them, and no faster than they are taken.
- What an agent repeats of an earlier session that it takes up is not handed over: it is on record.
- No capability of a client is advertised: an agent reads, writes and runs with its own tools, inside the sandbox.
- Every request has a deadline, but a prompt's: whoever prompts watches over it.
- Whatever goes wrong on the agent's side is AgentFailed.
"""

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

from acp import PROTOCOL_VERSION, RequestError, connect_to_agent, text_block
from acp.schema import (
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    EnvVariable,
    HttpHeader,
    HttpMcpServer,
    Implementation,
    McpServerStdio,
    PermissionOption,
    RequestPermissionResponse,
    ToolCallUpdate,
)
from acp.schema import Usage as ReportedUsage

from quarterdeck import __version__
from quarterdeck.agents.acp_updates import name_in
from quarterdeck.agents.acp_values import Begun, Greeting, Listener, Option, Permission, Server, Turn
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import AgentFailed, FailureClass, SandboxFailed
from quarterdeck.tools.bounds import readable
from quarterdeck.workplace.port import Session

_log = logging.getLogger(__name__)
T = TypeVar("T")

LINE_LIMIT: Final = 16 * 1024 * 1024
BYTES_LIMIT: Final = 512 * 1024 * 1024
AT_ONCE: Final = 32
"""Permission requests that wait for their answer; nothing more is read as long as there are so many."""
MOST_TOKENS: Final = 1_000_000_000_000
"""Of a session, by what an agent says of itself; more cannot be true, and could not be stored."""
_AUTH_REQUIRED: Final = -32000
_NOTHING: Final[Mapping[str, Any]] = {}
_UPDATE: Final = "session/update"
_PERMISSION: Final = "session/request_permission"


class _Pipe:
    """Messages over the session's pipes. Implements the SDK's transport."""

    def __init__(self, session: Session, listener: Listener) -> None:
        self._session = session
        self._listener = listener
        self._buffer = bytearray()
        self._read = 0
        self.junk = 0
        """Lines that were no message."""
        self.first_junk = ""
        self.failure: AgentFailed | None = None
        self.over = asyncio.Event()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._unanswered = Counter[int | str]()
        """Permission requests, by their id."""
        self.repeating = False
        """What comes is an earlier session, told again."""
        self.heard = asyncio.Event()
        """Something that is a message has come."""

    async def send(self, message: dict[str, Any]) -> None:
        if "method" not in message and self._unanswered[number := message.get("id", "")]:
            # Whoever answers: the SDK does that itself where a request is none.
            self._unanswered -= Counter([number])
            self._room.release()
        data = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
        try:
            await self._session.write(data + b"\n")
        except (OSError, SandboxFailed) as error:
            raise ConnectionError(str(error)) from error

    async def receive(self) -> dict[str, Any] | None:
        try:
            while (line := await self._line()) is not None:
                message = self._message(line)
                if message is None:
                    continue
                self.heard.set()
                if message.get("method") == _PERMISSION and message.get("id") is not None:
                    await self._room.acquire()
                    self._unanswered[message["id"]] += 1
                if "id" in message:
                    return message
                if message["method"] != _UPDATE:
                    continue  # the SDK would complain of each one that it does not know
                update = (message.get("params") or {}).get("update")
                if isinstance(update, dict) and not self.repeating:
                    await self._listener.updated(update)
        except AgentFailed as error:
            self.failure = error
        self.over.set()
        return None

    async def close(self) -> None:
        self.over.set()

    async def _line(self) -> bytes | None:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LINE_LIMIT:
                raise AgentFailed(f"the agent wrote a line of more than {LINE_LIMIT} bytes", FailureClass.TOOL)
            part = await self._session.read()
            if not part:
                return None
            self._read += len(part)
            if self._read > BYTES_LIMIT:
                raise AgentFailed(f"the agent wrote more than {BYTES_LIMIT} bytes", FailureClass.TOOL)
            self._buffer += part
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _message(self, line: bytes) -> dict[str, Any] | None:
        """The message that a line is; None for anything that the SDK would stumble over."""
        if not line.strip():
            return None
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or not _is_sound(message):
            self.junk += 1
            self.first_junk = self.first_junk or line[:200].decode("utf-8", "replace")
            return None
        return message


def _is_sound(message: Mapping[str, Any]) -> bool:
    method, number, error = (message.get(key) for key in ("method", "id", "error"))
    return (
        (method is None or isinstance(method, str))
        and (number is None or isinstance(number, int | str))
        and (error is None or isinstance(error, dict))
        and ("method" in message or "id" in message)
        and (method is None or message.get("params") is None or isinstance(message["params"], dict))
    )


class _Client:
    """What an agent may ask of us. The SDK finds its methods by name."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    async def request_permission(
        self, session_id: str, tool_call: ToolCallUpdate, options: list[PermissionOption], **_: Any
    ) -> RequestPermissionResponse:
        asked = Permission(
            call=tool_call.tool_call_id,
            title=tool_call.title or "",
            kind=tool_call.kind or "",
            input=tool_call.raw_input,
            paths=tuple(place.path for place in tool_call.locations or ()),
            options=tuple(Option(option.option_id, option.kind) for option in options),
            name=name_in(tool_call.field_meta or {}),
            content=tuple(part.model_dump(by_alias=True, mode="json") for part in tool_call.content or ()),
        )
        chosen = await self._listener.permission(asked)
        if chosen is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=chosen))


class Conversation:
    """One connection with one agent process. Closing it does not end the process."""

    def __init__(self, session: Session, listener: Listener) -> None:
        self._session = session
        self._pipe = _Pipe(session, listener)
        # the SDK wants its whole protocol; what is not there is answered with `method not found`
        client: Any = _Client(listener)
        self._agent = connect_to_agent(client, self._pipe)

    @property
    def heard(self) -> bool:
        """Whether it has said anything at all."""
        return self._pipe.heard.is_set()

    @property
    def gone(self) -> bool:
        """Whether the agent has closed its side."""
        return self._pipe.over.is_set() and self._pipe.failure is None

    @property
    def junk(self) -> str:
        """What it wrote beside the protocol, in words; empty = nothing."""
        pipe = self._pipe
        return f"{pipe.junk} lines were no messages, the first: {pipe.first_junk}" if pipe.junk else ""

    async def initialize(self, seconds: float) -> Greeting:
        """Begin to talk. Raises AgentFailed."""
        answer = await self._asked(
            "initialize",
            self._agent.initialize(
                protocol_version=PROTOCOL_VERSION,
                client_capabilities=ClientCapabilities(),
                client_info=Implementation(name="quarterdeck", title="Quarterdeck", version=__version__),
            ),
            seconds,
        )
        if answer.protocol_version != PROTOCOL_VERSION:
            raise AgentFailed(
                "the agent speaks another version of the protocol",
                FailureClass.TOOL,
                why=f"{answer.protocol_version} instead of {PROTOCOL_VERSION}",
            )
        can, who = answer.agent_capabilities, answer.agent_info
        return Greeting(
            name=readable(who.name if who is not None else "")[:200],  # JSON can spell what cannot be stored
            version=readable(who.version if who is not None else "")[:100],
            protocol=answer.protocol_version,
            http_mcp=bool(_of(can, "mcp_capabilities", "http")),
            can_load=bool(_of(can, "load_session")),
            can_resume=_of(can, "session_capabilities", "resume") is not None,
            logins=tuple(method.id for method in answer.auth_methods or ()),
        )

    async def authenticate(self, method: str, seconds: float) -> None:
        """Choose a way to log in. Raises AgentFailed."""
        await self._asked("authenticate", self._agent.authenticate(method_id=method), seconds)

    async def begin(
        self, cwd: str, server: Server | None, over_http: bool, seconds: float, meta: Mapping[str, Any] = _NOTHING
    ) -> Begun:
        """A new session with that MCP server. `meta`: beside the protocol's own fields. Raises AgentFailed."""
        asked = self._agent.new_session(cwd=cwd, mcp_servers=_servers(server, over_http), **meta)
        answer = await self._asked("session/new", asked, seconds)
        return _begun(answer.session_id, answer)

    async def take_up(
        self,
        session: str,
        greeting: Greeting,
        cwd: str,
        server: Server | None,
        over_http: bool,
        seconds: float,
        meta: Mapping[str, Any] = _NOTHING,
    ) -> Begun:
        """An earlier session again, with that MCP server, where the agent can. Raises AgentFailed."""
        servers = _servers(server, over_http)
        self._pipe.repeating = True
        try:
            answer: Any
            if greeting.can_resume:
                asked = self._agent.resume_session(session_id=session, cwd=cwd, mcp_servers=servers, **meta)
                answer = await self._asked("session/resume", asked, seconds)
            elif greeting.can_load:
                loaded = self._agent.load_session(session_id=session, cwd=cwd, mcp_servers=servers, **meta)
                answer = await self._asked("session/load", loaded, seconds)
            else:
                raise AgentFailed("the agent cannot take up a session", FailureClass.TOOL)
        finally:
            self._pipe.repeating = False
        return _begun(session, answer, resumed=True)

    async def set_mode(self, session: str, mode: str, seconds: float) -> None:
        """Raises AgentFailed."""
        asked = self._agent.set_session_mode(session_id=session, mode_id=mode)
        await self._asked("session/set_mode", asked, seconds)

    async def set_option(self, session: str, option: str, value: str, seconds: float) -> None:
        """Raises AgentFailed."""
        asked = self._agent.set_config_option(config_id=option, session_id=session, value=value)
        await self._asked("session/set_config_option", asked, seconds)

    async def prompt(self, session: str, text: str) -> Turn:
        """Say something and wait until the agent's turn has ended. Raises AgentFailed."""
        answer = await self._asked("session/prompt", self._agent.prompt(session_id=session, prompt=[text_block(text)]))
        return Turn(answer.stop_reason, None if answer.usage is None else usage_of(answer.usage))

    async def cancel(self, session: str) -> None:
        """Ask the agent to end its turn. Never raises for a dead one."""
        with contextlib.suppress(OSError):
            await self._agent.cancel(session_id=session)

    async def close(self) -> None:
        await self._agent.close()

    async def _asked(self, what: str, answer: Awaitable[T], seconds: float | None = None) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError as error:
            raise AgentFailed(f"the agent did not answer {what} within {seconds:g} s", FailureClass.TOOL) from error
        except RequestError as error:
            raise AgentFailed(f"the agent refused {what}", _class_of(error), why=_why(error)) from error
        except OSError as error:
            raise self._pipe.failure or AgentFailed(f"the agent ended during {what}", FailureClass.TOOL) from error
        except ValueError as error:  # pydantic's: an answer that is none
            why = str(error)[:500]
            raise AgentFailed(f"the agent's answer to {what} is not valid", FailureClass.TOOL, why=why) from error


def _of(said: Any, *names: str) -> Any:
    """A part of a part of an answer. None also where an agent wrote it as nobody knows it: the SDK leaves a plain value
    there."""
    for name in names:
        said = getattr(said, name, None)
    return said


def _begun(session: str, answer: Any, *, resumed: bool = False) -> Begun:
    modes = answer.modes.available_modes if answer.modes is not None else ()
    return Begun(session, tuple(mode.id for mode in modes), _options(answer.config_options or ()), resumed)


def _servers(server: Server | None, over_http: bool) -> list[Any]:
    if server is None:
        return []
    if over_http:
        headers = [HttpHeader(name="Authorization", value=f"Bearer {server.key}")]
        return [HttpMcpServer(type="http", name=server.name, url=server.url, headers=headers)]
    if not server.command:
        raise AgentFailed(
            "the agent takes no MCP server over HTTP", FailureClass.TOOL, why="and there is no program for it"
        )
    program, *arguments = server.command
    given = {"QUARTERDECK_MCP_URL": server.url, "QUARTERDECK_MCP_KEY": server.key}
    env = [EnvVariable(name=name, value=value) for name, value in given.items()]
    return [McpServerStdio(name=server.name, command=program, args=arguments, env=env)]


def _options(found: Any) -> dict[str, tuple[str, ...]]:
    """Options with the values that can be chosen; grouped values flattened."""
    result = {}
    for option in found:
        choices = getattr(option, "options", None) or ()
        flat = [each for choice in choices for each in (getattr(choice, "options", None) or (choice,))]
        result[str(option.id)] = tuple(str(each.value) for each in flat if hasattr(each, "value"))
    return result


def usage_of(reported: ReportedUsage) -> Usage | None:
    """ACP counts cached tokens apart from the input, and thoughts apart from the output. None = nobody can have used
    that."""
    usage = Usage(
        input=reported.input_tokens,
        cache_read=reported.cached_read_tokens or 0,
        cache_write=reported.cached_write_tokens or 0,
        output=reported.output_tokens + (reported.thought_tokens or 0),
    )
    return usage if usage.prompt + usage.output <= MOST_TOKENS else None


def _class_of(error: RequestError) -> FailureClass:
    return FailureClass.AUTH if error.code == _AUTH_REQUIRED else FailureClass.TOOL


def _why(error: RequestError) -> str:
    data = "" if error.data is None else f" {json.dumps(error.data, default=str)}"
    return readable(f"{error} ({error.code}){data}"[:2000])  # JSON can spell what cannot be stored
