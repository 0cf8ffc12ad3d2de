"""How many files and connections a deck's process may have open.

Rules
- An agent that waits for its model holds a connection, and one with a sandbox some pipes. What systems allow a program
  at first (often 1024) is less than one worker can carry: the process takes what it may have, within a bound.
- Programs in a sandbox have bounds of their own.
"""

import resource
from typing import Final

ENOUGH: Final = 65_536
"""More would only cost those programs time that close whatever they could have inherited."""


def as_many_as_allowed() -> int:
    """Raise this process's own bound to what it may have; the bound from now on."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if most == resource.RLIM_INFINITY else min(most, ENOUGH)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        return wanted
    return now
