"""GitHub's REST API, as far as it is used: issues, comments, pull requests.

Rules
- The token is read for each request, and sent as a header to the configured address alone. It is in no error: an error
  says the status and GitHub's own message.
- What an answer means is decided here: a token that is refused and a permission that is missing are not tried again; a
  rate limit says how long to wait; an overloaded server is tried again.
- Creating is preceded by looking, so that what was created by a process that died is found.

Source: GitHub REST API, version 2022-11-28.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import BadConfiguration, FailureClass, NotFound, OutsideFailed
from quarterdeck.triggers.port import Configured, Secrets
from quarterdeck.triggers.web import Answer, exchange

_PAGE: Final = 100
_PAGES: Final = 20
_LONGEST_WAIT: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue, as the API shows it."""

    number: int
    title: str
    state: str
    is_pull: bool
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request."""

    number: int
    url: str
    state: str


class Github:
    """The configured server."""

    def __init__(self, configured: Configured, secrets: Secrets, clock: Clock) -> None:
        self._configured = configured
        self._secrets = secrets
        self._clock = clock

    async def issue(self, repository: str, number: int) -> Issue:
        """One issue. Raises OutsideFailed, NotFound."""
        found = await self._object("GET", f"/repos/{repository}/issues/{number}")
        title, state = str(found.get("title") or ""), str(found.get("state") or "")
        return Issue(number, title, state, "pull_request" in found, found)

    async def default_branch(self, repository: str) -> str:
        """The branch that pull requests are for. Raises OutsideFailed, NotFound."""
        return str((await self._object("GET", f"/repos/{repository}")).get("default_branch") or "")

    async def pull_of(self, repository: str, branch: str, base: str) -> Pull | None:
        """The newest open pull request from that branch of the repository itself; None = there is none."""
        owner = repository.partition("/")[0]
        asked = urlencode({"head": f"{owner}:{branch}", "base": base, "state": "open", "per_page": _PAGE})
        found = await self._list(f"/repos/{repository}/pulls?{asked}")
        return _pull(found[0]) if found else None

    async def open_pull(self, repository: str, *, title: str, branch: str, base: str, body: str) -> Pull:
        """Open a pull request from that branch."""
        told = {"title": title, "head": branch, "base": base, "body": body, "maintainer_can_modify": True}
        return _pull(await self._object("POST", f"/repos/{repository}/pulls", told))

    async def describe_pull(self, repository: str, number: int, body: str) -> Pull:
        """Replace a pull request's description."""
        return _pull(await self._object("PATCH", f"/repos/{repository}/pulls/{number}", {"body": body}))

    async def comment_with(self, repository: str, issue: int, marker: str, since: str) -> str:
        """Where a comment with that text in it is seen; empty = there is none. `since`: ISO 8601."""
        for page in range(1, _PAGES + 1):
            asked = urlencode({"since": since, "per_page": _PAGE, "page": page})
            found = await self._list(f"/repos/{repository}/issues/{issue}/comments?{asked}")
            for each in found:
                if marker in str(each.get("body") or ""):
                    return str(each.get("html_url") or "")
            if len(found) < _PAGE:
                break
        return ""

    async def comment(self, repository: str, issue: int, body: str) -> str:
        """Comment on an issue; where it is seen."""
        made = await self._object("POST", f"/repos/{repository}/issues/{issue}/comments", {"body": body})
        return str(made.get("html_url") or "")

    # --- one request ------------------------------------------------------------------------------------------

    async def _object(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        found = await self._ask(method, path, body)
        if not isinstance(found, dict):
            raise OutsideFailed("GitHub's answer is not what its API promises", FailureClass.TOOL)
        return found

    async def _list(self, path: str) -> list[Mapping[str, Any]]:
        found = await self._ask("GET", path, None)
        if not isinstance(found, list):
            raise OutsideFailed("GitHub's answer is not what its API promises", FailureClass.TOOL)
        return [each for each in found if isinstance(each, dict)]

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        section = self._configured().github
        token = self._secrets(section.token_env)
        if not token:
            raise BadConfiguration(
                "there is no token for the GitHub server",
                why=f"the variable {section.token_env} is not set",
                fix=f"export {section.token_env}=…, or name another variable with [github] token_env",
            )
        headers = {
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
            "authorization": f"Bearer {token}",
        }
        data = json.dumps(body).encode() if body is not None else b""
        if data:
            headers["content-type"] = "application/json"
        answer = await exchange(method, section.api + quote(path, safe="/?=&%:+"), headers, data)
        if not 200 <= answer.status < 300:
            raise _failure(answer, method, path.partition("?")[0], self._clock.wall())
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise OutsideFailed("GitHub's answer is not JSON", FailureClass.TRANSIENT) from error


def _pull(found: Mapping[str, Any]) -> Pull:
    number = found.get("number")
    if not isinstance(number, int):
        raise OutsideFailed("GitHub's answer is not what its API promises", FailureClass.TOOL)
    return Pull(number, str(found.get("html_url") or ""), str(found.get("state") or ""))


def _failure(answer: Answer, method: str, path: str, now: float) -> OutsideFailed | NotFound:
    """What a status means."""
    what, why = f"GitHub answers {answer.status} to {method} {path}", _said(answer.body)
    wait = _wait(answer, now)
    match answer.status:
        case 401:
            fix = "make a new token, and put it where [github] token_env says"
            return OutsideFailed(what, FailureClass.AUTH, why=why, fix=fix)
        case 403 | 429 if wait is not None:
            return OutsideFailed(what, FailureClass.TRANSIENT, retry_after=wait, why=why)
        case 403:
            fix = "give the token contents, issues and pull requests, read and write"
            return OutsideFailed(what, FailureClass.POLICY, why=why, fix=fix)
        case 404 | 410:
            return NotFound(what, why=why, fix="see whether it is there, and whether the token may see it")
        case 408 | 409 | 429:
            return OutsideFailed(what, FailureClass.TRANSIENT, retry_after=wait, why=why)
        case status if status >= 500:
            return OutsideFailed(what, FailureClass.TRANSIENT, retry_after=wait, why=why)
        case status if 300 <= status < 400:
            fix = "correct the repository's name, or [github] api"
            return OutsideFailed(what, FailureClass.POLICY, why="it is elsewhere now", fix=fix)
    return OutsideFailed(what, FailureClass.TOOL, why=why)


def _wait(answer: Answer, now: float) -> float | None:
    """Seconds that GitHub asks to wait: `retry-after`, or until the limit of requests is reset; None = it does not."""
    after = answer.headers.get("retry-after", "")
    if after.isdigit():
        return min(float(after), _LONGEST_WAIT)
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
        return min(max(float(reset) - now, 1.0), _LONGEST_WAIT)
    return 60.0 if "rate limit" in _said(answer.body).lower() else None


def _said(body: bytes) -> str:
    """GitHub's own words in an error."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(found, dict):
        return ""
    listed = found.get("errors")
    parts = [str(found.get("message") or "")]
    if isinstance(listed, list):
        parts += [str(each.get("message") or "") for each in listed[:5] if isinstance(each, dict)]
    return "; ".join(part for part in parts if part)[:500]
