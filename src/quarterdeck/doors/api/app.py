"""The API as one application, and its description (OpenAPI).

Rules
- Every error leaves as a problem; a bug of ours is written down with its trace and says nothing of it.
- The description is made from the routes and their types, and says of every route what it may answer.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from quarterdeck import __version__
from quarterdeck.board.port import Delta
from quarterdeck.doors.api import approvals, attempts, export, live, machine, runs
from quarterdeck.doors.api.port import Backing
from quarterdeck.doors.api.problems import PROBLEM, Problem, of_error, of_status
from quarterdeck.doors.api.sessions import COOKIE
from quarterdeck.kernel.complaints import complaint
from quarterdeck.kernel.failures import QuarterdeckError

_log = logging.getLogger(__name__)

PREFIX: Final = "/api/v1"
_ROUTERS: Final = (
    live.router,
    runs.router,
    runs.tasks,
    export.router,
    attempts.router,
    approvals.router,
    machine.router,
)
_ABOUT: Final = """\
The deck: its runs, tasks, attempts, approvals, gates, costs and journal, read and steered. Some things are done on the
command line only, such as tokens, the approval of tool servers, triggers and the demo. What changes something takes
JSON, `Idempotency-Key` and, where it is about a run, `If-Match`. Errors are problems (RFC 9457) with the command that
helps in `fix`. Money is in USD, times are seconds since the epoch."""
_ALWAYS: Final = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "The role does not allow it, or another site asks",
    421: "The Host header names another server",
    500: "A bug in Quarterdeck",
    501: "Not built, or not installed here",
    502: "A model or another server cannot be reached",
    503: "The machine is not well",
}
_CHANGING: Final = {
    408: "The body did not come in time",
    409: "In conflict with what is there",
    412: "The run has changed since it was looked at",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The input cannot be used",
}
_UNTOLD: Final[Any] = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
"""Telemetry is the deck's own business (`quarterdeck.telemetry`); the framework would read the environment for it."""
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def make_app(backing: Backing | None) -> FastAPI:
    """The application. `backing`: None = it is only described."""
    app = FastAPI(
        title="Quarterdeck",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        telemetry=_UNTOLD,
        generate_unique_id_function=lambda route: f"{route.tags[0]}_{route.name}" if route.tags else route.name,
    )
    app.state.backing = backing
    app.state.one = asyncio.Semaphore(1)
    for router in _ROUTERS:
        app.include_router(router, prefix=PREFIX)
    described: list[dict[str, Any]] = []

    @app.get(f"{PREFIX}/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        if not described:  # made when it is first asked for: it takes half as long as everything else
            described.append(description(app))
        return _json(200, described[0], "application/json")

    app.add_exception_handler(QuarterdeckError, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _bug)
    return app


# --- errors ---------------------------------------------------------------------------------------------------


def _json(status: int, value: Any, kind: str, headers: Mapping[str, str] | None = None) -> Response:
    body = value.model_dump_json() if isinstance(value, Problem) else json.dumps(value, ensure_ascii=False)
    return Response(body, status, media_type=kind, headers=dict(headers or {}))


def _path(request: Request) -> str:
    return request.url.path[:500]


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, QuarterdeckError)
    run = request.path_params.get("run") or request.path_params.get("attempt", "").partition(".")[0]
    problem = of_error(error, _path(request), run or None)
    if problem.status >= 500:
        _log.warning("%s %s: %s", request.method, _path(request), error)
    return _json(problem.status, problem, PROBLEM)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = dict(error.errors()[0])
    if first["type"] == "json_invalid":
        return _json(400, of_status(400, "the body is not JSON", _path(request)), PROBLEM)
    where = [str(part) for part in first["loc"]]
    said = complaint({**first, "loc": tuple(where[1:])})
    status = 404 if where[:1] == ["path"] else 422
    return _json(status, of_status(status, f"{where[0]}: {said}", _path(request)), PROBLEM)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = of_status(error.status_code, str(error.detail), _path(request), "GET /api/v1/openapi.json")
    return _json(error.status_code, problem, PROBLEM, error.headers)


async def _bug(request: Request, error: Exception) -> Response:
    _log.error("a bug at %s %s", request.method, _path(request), exc_info=error)
    return _json(500, of_status(500, "the trace is in the server's log", _path(request)), PROBLEM)


# --- the description ------------------------------------------------------------------------------------------


def description(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    document = get_openapi(
        title="Quarterdeck",
        version=__version__,
        description=_ABOUT,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    parts = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        parts.pop(unused, None)
    for kind in (Problem, Delta):
        schema = kind.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        parts |= schema.pop("$defs", {})
        parts[kind.__name__] = schema
    document["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "Not needed on loopback while there are no tokens.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": "What `POST /api/v1/session` gives a browser for its token.",
        },
    }
    document["security"] = [{"token": []}, {"session": []}, {}]
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                _complete(path, method, methods[method])
    return document


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """Say what the route may answer beside what it answers when all is well."""
    responses = operation["responses"]
    responses.pop("422", None)
    errors = {**_ALWAYS, **(_CHANGING if method != "get" else {})}
    if "{" in path or operation.get("parameters") or "requestBody" in operation:
        errors[404] = "There is nothing of that name"
    if any(each["in"] == "query" for each in operation.get("parameters", ())):
        errors[422] = "The input cannot be used"
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, said in sorted(errors.items()):
        responses[str(status)] = {"description": said, "content": content}
