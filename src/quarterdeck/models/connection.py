"""What it means when a connection to a provider is not made, or breaks. Pure.

Rules
- What cannot have reached the other side costs nothing and names the address; what broke off may have been billed.
- What this machine itself refuses (no descriptor, no memory) is not the provider's fault.
- Where nobody was there at all, somebody may be later. A certificate or a proxy that says no is there.
- The reason is what the system said at the bottom of the exceptions, not the name of the last one.
"""

import os
import ssl
from typing import Final

from quarterdeck.kernel.failures import UNWELL, FailureClass, ModelFailed
from quarterdeck.models.http.port import HttpFailed, NotPickedUp, Unsent

_DEPTH: Final = 10
"""Causes of causes that are looked at."""


def broken(model: str, address: str, cause: BaseException) -> ModelFailed:
    """The failure of a call to `model` at `address` that got no answer, or lost it."""
    below, unsent = _below(cause), isinstance(cause, Unsent)
    if below is not None and below.errno in UNWELL and (unsent or isinstance(cause, OSError)):
        return ModelFailed(f"{model} cannot be called from here", FailureClass.INFRASTRUCTURE, why=words(cause))
    if not unsent:
        return ModelFailed(f"{model} broke off", FailureClass.TRANSIENT, billed=True, why=words(cause))
    nobody = isinstance(cause, NotPickedUp) or (below is not None and not isinstance(below, ssl.SSLError))
    fix, what = "check the network and the address of the model's server", f"{model} cannot be reached at {address}"
    return ModelFailed(what, FailureClass.TRANSIENT, unreached=nobody, why=words(cause), fix=fix)


def words(cause: BaseException) -> str:
    """What the system said at the bottom of an exception, else the exception itself."""
    below = _below(cause)
    if below is not None and below.strerror:
        # asyncio puts the address where the system's words should be.
        of_asyncio = below.errno is not None and below.strerror.startswith("Connect call failed")
        return os.strerror(below.errno or 0) if of_asyncio else below.strerror
    if isinstance(cause, HttpFailed) and cause.args:
        return str(cause)[:500]
    return f"{type(cause).__name__}: {cause}".removesuffix(": ")[:500]


def _below(cause: BaseException) -> OSError | None:
    """The error of the system that an exception came from."""
    found: BaseException | None = cause
    for _ in range(_DEPTH):
        if isinstance(found, OSError) and found.strerror:
            return found
        if isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        elif found is not None:
            found = found.__cause__ or found.__context__
    return None
