"""A browser's way in where a token is needed: the token is exchanged once for a cookie.

Rules
- The cookie holds a random name, not the token; it dies with the server, with its token, or after half a day.
- It is out of reach of scripts and is sent by our own pages only (HttpOnly, SameSite=Strict).
"""

import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

from quarterdeck.doors.api.trust import Keys, Person
from quarterdeck.kernel.clock import Clock

COOKIE: Final = "quarterdeck"
_SECONDS: Final = 12 * 3600
_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class _Session:
    token: str
    until: float


class Sessions:
    """The sessions of one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[str, _Session] = {}

    def begin(self, token: str) -> str:
        """A new session for that token; the value of `Set-Cookie`."""
        now = self._clock.monotonic()
        self._sessions = {name: each for name, each in self._sessions.items() if each.until > now}
        while len(self._sessions) >= _MOST:
            self._sessions.pop(next(iter(self._sessions)))
        name = secrets.token_urlsafe(32)
        self._sessions[name] = _Session(token, now + _SECONDS)
        return f"{COOKIE}={name}; Path=/; Max-Age={_SECONDS}; HttpOnly; SameSite=Strict"

    def find(self, cookie: str, keys: Keys) -> Person | None:
        """Whose session a `Cookie` header names, as long as its token holds."""
        try:
            morsel = SimpleCookie(cookie).get(COOKIE)
        except CookieError:
            return None
        session = self._sessions.get(morsel.value) if morsel is not None else None
        if session is None or session.until <= self._clock.monotonic():
            return None
        return keys.find(session.token)

    def end(self, cookie: str) -> str:
        """Forget the session that a `Cookie` header names; the value of `Set-Cookie` that takes it from the browser."""
        try:
            morsel = SimpleCookie(cookie).get(COOKIE)
        except CookieError:
            morsel = None
        if morsel is not None:
            self._sessions.pop(morsel.value, None)
        return f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
