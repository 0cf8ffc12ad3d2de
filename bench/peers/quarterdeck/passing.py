"""The least that a gateway can be: Starlette and httpx, passing a stream on. It prices, meters and records nothing.

usage: python passing.py UPSTREAM      prints {"url": ...}, serves until its stdin or itself is closed
"""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

_KEPT = ("authorization", "content-type", "accept")


def application(upstream: str, client: httpx2.AsyncClient) -> Starlette:
    """The application. `upstream`: the provider's base address."""

    async def passing(request: Request) -> StreamingResponse:
        headers = {name: value for name, value in request.headers.items() if name in _KEPT}
        path = request.url.path.removeprefix("/v1")
        asked = client.build_request("POST", f"{upstream}{path}", content=await request.body(), headers=headers)
        answer = await client.send(asked, stream=True)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            finally:
                await answer.aclose()

        return StreamingResponse(chunks(), answer.status_code, {"content-type": answer.headers["content-type"]})

    return Starlette(routes=[Route("/{path:path}", passing, methods=["POST"])])


async def main(upstream: str) -> None:
    """See the module."""
    # asyncio looks for the protocol: without it, a small answer waits for the client's delayed acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}"}) + "\n")
        sys.stdout.flush()
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=200)
        async with httpx2.AsyncClient(timeout=120, limits=limits) as client:
            config = uvicorn.Config(application(upstream, client), log_level="error", lifespan="off")
            await uvicorn.Server(config).serve([listening])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
