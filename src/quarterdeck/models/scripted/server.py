"""The scripted model server: real HTTP, three providers' formats, and every fault a wire can have.

Rules
- The scenario is named by the URL: `<url>/s/<scenario>` is the base URL for an SDK (with `/v1` for OpenAI's).
- The server keeps no conversation. Its only state: how often each place was asked (for faults), the prompt cache, and
  the ledger.
- A client that goes away is noticed at once, and what it had received until then is what is billed.
"""

import asyncio
import json
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import h11

from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import BadInput
from quarterdeck.models.scripted import answer, heard
from quarterdeck.models.scripted.cache import Counted, PrefixCache, prompt_tokens
from quarterdeck.models.scripted.faults import Fault, HttpError, Kind, anthropic_error, http_error, openai_error, pick
from quarterdeck.models.scripted.heard import Format, Heard, Said
from quarterdeck.models.scripted.http1 import Connection, HttpRequest
from quarterdeck.models.scripted.ledger import Asked, Bill, End, Ledger
from quarterdeck.models.scripted.scenario import Chosen, Scenario, choose, window

_PATH: Final = re.compile(r"(?:/s/(?P<scenario>[^/]+))?(?P<rest>/.*)")
_FORMATS: Final = {
    "/v1/messages": Format.MESSAGES,
    "/v1/responses": Format.RESPONSES,
    "/responses": Format.RESPONSES,
    "/v1/chat/completions": Format.CHAT,
    "/chat/completions": Format.CHAT,
    "/api/chat": Format.OLLAMA,
}
_PLACES: Final = 100_000
_LAST: Final = 2_000
"""Characters."""

TAG: Final = "x-quarterdeck-tag"
"""Header that says who asks."""


class ScriptedServer:
    """A model server that follows scenarios; an async context manager."""

    def __init__(
        self,
        scenarios: Scenario | Iterable[Scenario],
        host: str = "127.0.0.1",
        port: int = 0,
        keep: int = 10_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keep`: requests that are kept; `now`: the clock by which their arrival is noted."""
        self.now: Final = now
        given = (scenarios,) if isinstance(scenarios, Scenario) else tuple(scenarios)
        self._scenarios = {scenario.name: scenario for scenario in given}
        self._host = host
        self._port = port
        self._ledger = Ledger(keep)
        self._caches: dict[str, PrefixCache] = {}
        self._tries: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where the server listens; serves the scenario `default`, or the only one."""
        return f"http://{self._host}:{self._port}"

    def at(self, scenario: str) -> str:
        """Base URL of a scenario."""
        return f"{self.url}/s/{scenario}"

    def put(self, scenario: Scenario) -> None:
        """Add or replace a scenario while the server runs."""
        self._scenarios[scenario.name] = scenario

    @property
    def requests(self) -> deque[Asked]:
        """What was asked, oldest first; bounded."""
        return self._ledger.requests

    @property
    def billed(self) -> Mapping[tuple[str, str], Bill]:
        """What a provider would have charged, by model and tag."""
        return self._ledger.billed

    @property
    def total(self) -> Bill:
        """What a provider would have charged."""
        return self._ledger.total

    async def seen(self, count: int) -> None:
        """Wait until `count` model requests have arrived."""
        await self._ledger.until(begun=count)

    async def served(self, count: int) -> None:
        """Wait until `count` model requests are over, however they ended."""
        await self._ledger.until(ended=count)

    async def idle(self) -> None:
        """Wait until every model request that has arrived is over."""
        await self._ledger.until(ended=self._ledger.begun)

    # --- connections --------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio runs this callback as a task
        self._connections.add(task)
        connection = Connection(reader, writer)
        try:
            while (request := await connection.receive()) is not None:
                if not await self._respond(connection, request):
                    break
        except (ConnectionError, h11.ProtocolError):
            # The client left or spoke no HTTP: nobody is there to be answered.
            connection.reset()
        except asyncio.CancelledError:
            connection.reset()
        finally:
            self._connections.discard(task)
            await connection.close()

    async def _respond(self, connection: Connection, request: HttpRequest) -> bool:
        """Answer one request; False = the connection cannot be used again."""
        match = _PATH.fullmatch(request.path)
        rest = match["rest"] if match is not None else ""
        scenario = self._scenario(match["scenario"] if match is not None else None)
        if scenario is None:
            await connection.json(404, _not_found(f"no scenario for {request.path}"))
            return True
        wire = _FORMATS.get(rest)
        if wire is not None and request.method == "POST":
            return await _Exchange(self, scenario, wire, connection, request).run()
        await self._look_up(connection, request, rest, scenario)
        return True

    def _scenario(self, name: str | None) -> Scenario | None:
        if name is not None:
            return self._scenarios.get(name)
        if len(self._scenarios) == 1:
            return next(iter(self._scenarios.values()))
        return self._scenarios.get("default")

    async def _look_up(self, connection: Connection, request: HttpRequest, rest: str, scenario: Scenario) -> None:
        """Everything that is not a model call."""
        try:
            body = json.loads(request.body) if request.body else {}
            match request.method, rest:
                case "POST", "/v1/messages/count_tokens":
                    count = prompt_tokens(answer.hear(Format.MESSAGES, body), scenario.chars_per_token)
                    await connection.json(200, {"input_tokens": count})
                case "GET", "/v1/models" | "/models":
                    await connection.json(200, _models(scenario))
                case "POST", "/api/show" if str(body.get("model")) in scenario.models:
                    await connection.json(200, _shown(scenario, str(body["model"])))
                case "GET", "/api/ps":
                    await connection.json(200, {"models": [{"name": n, "model": n} for n in scenario.models]})
                case "GET", "/props" if scenario.models:
                    first = next(iter(scenario.models.values()))
                    await connection.json(200, {"default_generation_settings": {"n_ctx": first.context}})
                case _:
                    await connection.json(404, _not_found(f"{request.method} {rest} is not served"))
        except (KeyError, TypeError, ValueError) as error:
            await connection.json(400, _not_found(f"not understood: {error!r}"))

    # --- what an exchange needs of the server -------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    def attempt(self, scenario: Scenario, request: Heard) -> int:
        """How often this place was asked, this time included."""
        key = (scenario.name, heard.place(request))
        count = self._tries.pop(key, 0) + 1
        self._tries[key] = count
        while len(self._tries) > _PLACES:
            self._tries.popitem(last=False)
        return count

    def count(self, scenario: Scenario, request: Heard) -> Counted:
        """Input tokens by kind."""
        if not scenario.cache:
            return Counted(prompt_tokens(request, scenario.chars_per_token))
        cache = self._caches.setdefault(scenario.name, PrefixCache())
        return cache.count(request, scenario.chars_per_token)


def _not_found(message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "not_found_error", "message": f"scripted model: {message}"}}


def _models(scenario: Scenario) -> dict[str, Any]:
    listed = [
        {"id": name, "object": "model", "created": 0, "owned_by": "scripted", "max_model_len": served.context}
        for name, served in scenario.models.items()
    ]
    return {"object": "list", "data": listed}


def _shown(scenario: Scenario, model: str) -> dict[str, Any]:
    info = {"general.architecture": "scripted", "scripted.context_length": scenario.models[model].context}
    return {"details": {"family": "scripted"}, "model_info": info, "capabilities": ["completion", "tools"]}


class _Exchange:
    """One model request, from its bytes to its line in the ledger."""

    def __init__(
        self, server: ScriptedServer, scenario: Scenario, wire: Format, connection: Connection, request: HttpRequest
    ) -> None:
        self._server = server
        self._scenario = scenario
        self._wire = wire
        self._connection = connection
        self._http = request
        self._heard: Heard | None = None
        self._chosen: Chosen | None = None
        self._fault: Fault | None = None
        self._attempt = 0
        self._status = 0
        self._end = End.ABORTED
        self._said: Said | None = None
        self._sent = 0
        """Characters of output sent so far."""
        self._reusable = True
        self._why = ""
        self._at = server.now()

    async def run(self) -> bool:
        """Perform the exchange while the client is there; False = the connection is used up."""
        await self._server.ledger.arrive()
        work = asyncio.create_task(self._perform())
        gone = asyncio.create_task(self._connection.gone())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            left = not work.done()
        finally:
            work.cancel()
            gone.cancel()
            ended = await asyncio.gather(work, gone, return_exceptions=True)
            await self._server.ledger.close(self._asked(), self._scenario.prices)
        if isinstance(ended[0], Exception) and not isinstance(ended[0], ConnectionError):
            raise ended[0]
        return self._reusable and not left and ended[0] is None

    def _asked(self) -> Asked:
        chosen, request, said = self._chosen, self._heard, self._said
        return Asked(
            scenario=self._scenario.name,
            format=self._wire,
            model=request.model if request is not None else "",
            tag=self._http.headers.get(TAG, ""),
            rule=chosen.rule if chosen is not None else "",
            step=chosen.step if chosen is not None else 0,
            attempt=self._attempt,
            fault=self._fault.kind if self._fault is not None else None,
            status=self._status,
            end=self._end,
            usage=self._billed(),
            stop=said.ends if said is not None else "",
            window=request.window if request is not None else None,
            why=self._why,
            at=self._at,
            role=request.spoken[-1].role if request is not None and request.spoken else "",
            last=request.spoken[-1].text[-_LAST:] if request is not None and request.spoken else "",
            size=sum(len(segment.text) for segment in request.segments) if request is not None else 0,
        )

    def _billed(self) -> Usage:
        if self._said is None:
            return Usage()
        if self._end is End.FINISHED:
            return self._said.usage
        output = answer.tokens(self._sent, self._scenario.chars_per_token)
        return self._said.usage.model_copy(update={"output": output})

    async def _perform(self) -> None:
        try:
            self._heard = request = answer.hear(self._wire, json.loads(self._http.body))
        except (KeyError, TypeError, ValueError) as error:
            await self._refuse(400, f"the request is not understood: {error!r}")
            return
        unwelcome = self._not_welcome(request)
        if unwelcome is not None:
            await self._fail(unwelcome)
            return
        self._chosen = chosen = choose(self._scenario, request)
        self._attempt = self._server.attempt(self._scenario, request)
        self._fault = fault = pick(chosen.faults, self._attempt)
        if fault is not None and await self._replaced(fault):
            return
        try:
            said = answer.compose(self._scenario, chosen.turn, request, fault)
        except BadInput as error:
            await self._refuse(400, f"scenario {self._scenario.name}, rule {chosen.rule}: {error}")
            return
        counted = self._server.count(self._scenario, request)
        characters = answer.output_characters(said)
        said = answer.metered(said, counted, answer.tokens(characters, self._scenario.chars_per_token))
        await asyncio.sleep(self._scenario.latency.first_byte)
        await (self._stream(said, request) if request.stream else self._whole(said, request))

    def _not_welcome(self, request: Heard) -> HttpError | None:
        headers = self._http.headers
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if self._scenario.key is not None and key != self._scenario.key:
            return http_error(Fault(kind=Kind.UNAUTHORIZED), self._wire)
        count, limit = prompt_tokens(request, self._scenario.chars_per_token), window(self._scenario, request.model)
        if count <= limit:
            return None
        if self._wire is Format.MESSAGES:
            return anthropic_error(
                400, "invalid_request_error", f"prompt is too long: {count} tokens > {limit} maximum"
            )
        text = f"This model's maximum context length is {limit} tokens, your messages have {count}."
        return openai_error(400, "invalid_request_error", "context_length_exceeded", text)

    async def _replaced(self, fault: Fault) -> bool:
        """Perform a fault that stands in place of an answer."""
        error = http_error(fault, self._wire)
        if error is not None:
            await self._fail(error)
            return True
        if fault.kind is Kind.RESET:
            self._end, self._reusable = End.FAULTED, False
            self._connection.reset()
            return True
        if fault.kind is Kind.HANG:
            # Ends when the client gives up or the server stops.
            await asyncio.Event().wait()
        return False

    async def _refuse(self, status: int, why: str) -> None:
        self._why = why
        kind = "invalid_request_error"
        message = f"scripted model: {why}"
        is_anthropic = self._wire is Format.MESSAGES
        error = anthropic_error(status, kind, message) if is_anthropic else openai_error(status, kind, None, message)
        await self._fail(error)
        self._end = End.REFUSED

    async def _fail(self, error: HttpError) -> None:
        self._status, self._end = error.status, End.FAULTED
        await self._connection.whole(error.status, error.headers, error.body)

    async def _whole(self, said: Said, request: Heard) -> None:
        body = json.dumps(answer.as_json(said, request)).encode()
        self._status, self._said = 200, said
        await asyncio.sleep(self._scenario.latency.per_token * said.usage.output)
        head = (("content-type", "application/json"), ("content-length", str(len(body))))
        await self._connection.head(200, head)
        if self._cuts():
            await self._connection.send(body[: len(body) // 2])
            self._end, self._reusable = End.FAULTED, False
            return
        await self._send(body)
        await self._connection.end()
        self._end = End.FINISHED

    def _cuts(self) -> bool:
        cutting = (Kind.CUT, Kind.LAST_MISSING, Kind.OVERLOADED_MIDSTREAM)
        return self._fault is not None and self._fault.kind in cutting

    async def _stream(self, said: Said, request: Heard) -> None:
        frames = answer.as_frames(said, request, self._fault)
        kind = "application/x-ndjson" if self._wire is Format.OLLAMA else "text/event-stream"
        self._status, self._said = 200, said
        await self._connection.head(200, (("content-type", kind), ("cache-control", "no-cache")))
        pause = self._scenario.latency.per_token / self._scenario.chars_per_token
        stalls = self._fault.after if self._fault is not None and self._fault.kind is Kind.STALL else len(frames)
        for index, frame in enumerate(frames):
            if index == stalls:
                await asyncio.Event().wait()  # ends when the client gives up or the server stops
            if pause and frame.output:
                await asyncio.sleep(pause * frame.output)
            await self._send(frame.data)
            self._sent += frame.output
            if frame is frames[-1] and not self._cuts():
                # From here on the client has everything; that it hangs up now is its right.
                self._end = End.FINISHED
        if self._cuts():
            self._end = End.FAULTED
            if self._fault is not None and not self._fault.clean:
                self._reusable = False
                return
        await self._connection.end()

    async def _send(self, data: bytes) -> None:
        if self._fault is None or self._fault.kind is not Kind.SLOW:
            await self._connection.send(data)
            return
        for at in range(len(data)):
            await self._connection.send(data[at : at + 1])
            await asyncio.sleep(self._fault.seconds)
