"""One model request, from its bytes to its line in the ledger.

Rules
- The exchange lasts while the client is there: one that goes away is noticed at once.
- What was sent until the end is what is billed.
"""

import asyncio
import json
from typing import Any, Final, Protocol

from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import BadInput
from quarterdeck.models.scripted import answer
from quarterdeck.models.scripted.cache import Counted, prompt_tokens
from quarterdeck.models.scripted.faults import Fault, HttpError, Kind, http_error, invalid, pick, too_long
from quarterdeck.models.scripted.heard import Format, Heard, Said
from quarterdeck.models.scripted.http1 import Connection, HttpRequest
from quarterdeck.models.scripted.ledger import Asked, End, Ledger
from quarterdeck.models.scripted.lookups import Asking
from quarterdeck.models.scripted.pictures import as_text
from quarterdeck.models.scripted.scenario import Chosen, Scenario, choose, window

_LAST: Final = 2_000
"""Characters."""

TAG: Final = "x-quarterdeck-tag"
"""Header that says who asks."""


class Host(Protocol):
    """What an exchange needs of the server."""

    @property
    def ledger(self) -> Ledger: ...

    def now(self) -> float: ...

    def attempt(self, scenario: Scenario, request: Heard) -> int:
        """How often this place was asked, this time included."""
        ...

    def count(self, scenario: Scenario, request: Heard) -> Counted:
        """Input tokens by kind."""
        ...


def _key(request: HttpRequest) -> str:
    """The key that a request carries, in any vendor's header."""
    named = (request.headers.get(name, "") for name in ("x-api-key", "x-goog-api-key"))
    return next((key for key in named if key), request.headers.get("authorization", "").removeprefix("Bearer "))


class Exchange:
    """One model request, from its bytes to its line in the ledger."""

    def __init__(
        self, host: Host, scenario: Scenario, asking: Asking, connection: Connection, request: HttpRequest
    ) -> None:
        self._host = host
        self._scenario = scenario
        self._wire = asking.format
        self._told = asking.told
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
        self._at = host.now()

    async def run(self) -> bool:
        """Perform the exchange while the client is there; False = the connection is used up."""
        await self._host.ledger.arrive()
        work = asyncio.create_task(self._perform())
        gone = asyncio.create_task(self._connection.gone())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            left = not work.done()
        finally:
            work.cancel()
            gone.cancel()
            ended = await asyncio.gather(work, gone, return_exceptions=True)
            await self._host.ledger.close(self._asked(), self._scenario.prices)
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
        hidden = self._fault.hidden if self._fault is not None else 0
        if self._end is not End.FINISHED:
            output = answer.tokens(self._sent, self._scenario.chars_per_token)
        elif self._said.with_usage:
            return self._said.usage
        else:
            output = self._said.usage.output
        return self._said.usage.model_copy(update={"output": output + hidden})

    def _hear(self) -> Heard:
        """Raises KeyError, TypeError, ValueError where it is not a request."""
        return answer.hear(self._wire, as_text(self._wire, self._body(), self._scenario.chars_per_token))

    async def _perform(self) -> None:
        try:
            self._heard = request = self._hear()
        except (KeyError, TypeError, ValueError) as error:
            await self._refuse(f"the request is not understood: {error!r}")
            return
        unwelcome = self._not_welcome(request)
        if unwelcome is not None:
            await self._fail(unwelcome)
            return
        self._chosen = chosen = choose(self._scenario, request)
        self._attempt = self._host.attempt(self._scenario, request)
        self._fault = fault = pick(chosen.faults, self._attempt)
        if fault is not None and await self._replaced(fault):
            return
        try:
            said = answer.compose(self._scenario, chosen.turn, request, fault)
        except BadInput as error:
            await self._refuse(f"scenario {self._scenario.name}, rule {chosen.rule}: {error}")
            return
        counted = self._host.count(self._scenario, request)
        said = answer.metered(said, counted, self._scenario.chars_per_token)
        await asyncio.sleep(self._scenario.latency.first_byte)
        await (self._stream(said, request) if request.stream else self._whole(said, request))

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self._http.body)
        return body | self._told

    def _not_welcome(self, request: Heard) -> HttpError | None:
        if self._scenario.key is not None and _key(self._http) != self._scenario.key:
            return http_error(Fault(kind=Kind.UNAUTHORIZED), self._wire)
        count, limit = prompt_tokens(request, self._scenario.chars_per_token), window(self._scenario, request.model)
        if count <= limit:
            return None
        return too_long(self._wire, count, limit)

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

    async def _refuse(self, why: str) -> None:
        self._why = why
        await self._fail(invalid(self._wire, f"scripted model: {why}"))
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
        loop = asyncio.get_running_loop()
        due = loop.time()  # a busy machine makes a frame late, not all that come after it
        for index, frame in enumerate(frames):
            if index == stalls:
                await asyncio.Event().wait()  # ends when the client gives up or the server stops
            if pause and frame.output:
                due += pause * frame.output
                await asyncio.sleep(due - loop.time())
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
