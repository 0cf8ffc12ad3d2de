"""HTTP to the world outside: GitHub's API, and the operator's webhook.

Rules
- One request, one bounded answer, one deadline. No redirect is followed: a token must not arrive where it was not sent.
- What cannot be reached is `OutsideFailed`, and is worth another try; what an answer means is its reader's business.
- The client's library is loaded with the first request.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from quarterdeck import __version__
from quarterdeck.kernel.failures import FailureClass, OutsideFailed

_SECONDS: Final = 30.0
_LIMIT: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


async def exchange(
    method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, seconds: float = _SECONDS
) -> Answer:
    """One request and its answer. Raises OutsideFailed where there is none."""
    import httpx2  # noqa: PLC0415 - a tenth of what every start would load

    host = httpx2.URL(url).host
    # As in `models.tls`: a plain address needs no certificates, whose loading takes a while.
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if url.startswith("http://") else True
    told = {"user-agent": f"quarterdeck/{__version__}", **headers}
    try:
        async with (
            asyncio.timeout(seconds),
            httpx2.AsyncClient(verify=verify, timeout=seconds, follow_redirects=False) as client,
            client.stream(method, url, headers=told, content=body or None) as answer,
        ):
            read = bytearray()
            async for chunk in answer.aiter_bytes():
                read += chunk
                if len(read) > _LIMIT:
                    raise OutsideFailed(f"{host} answers with more than {_LIMIT} bytes", FailureClass.TOOL)
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status_code, found, bytes(read))
    except TimeoutError as error:
        raise OutsideFailed(f"{host} did not answer within {seconds:g} s", FailureClass.TRANSIENT) from error
    except (httpx2.HTTPError, OSError) as error:
        why = f"{type(error).__name__}: {error}".removesuffix(": ")[:500]
        raise OutsideFailed(f"{host} cannot be reached", FailureClass.TRANSIENT, why=why) from error
