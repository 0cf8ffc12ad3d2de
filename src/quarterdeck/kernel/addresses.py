"""How an address of a server is shown: without who is let in there. Pure.

Rules
- A user, a password and a query may be secrets; scheme, host and path are not.
- One that cannot be read is shown without all that stands before its last `@`.
"""

from typing import Final

HIDDEN: Final = "***"


def shown(address: str) -> str:
    """The address without user, password and query."""
    place, asks, _ = address.partition("#")[0].partition("?")
    before, at, rest = place.rpartition("@")
    scheme, there, _ = before.partition("://")
    place = f"{scheme}://{rest}" if at and there else rest
    return f"{place}?{HIDDEN}" if asks else place
