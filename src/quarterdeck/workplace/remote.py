"""Repositories on a git server: the deck's clones of them, and pushing what landed.

Rules
- The token travels in the environment of one git process, as a header for that server alone. It stands in no argument,
  no URL, no configuration file, no log and no error.
- A clone is bare and ours: the server's branches are kept below `refs/remotes/origin/`, what runs land on below
  `refs/heads/`. Fetching and landing never touch each other.
- A push moves one branch forward or creates it, never anything else; a branch that is there already is fine.
- No redirect, no helper, no prompt, no configuration of the user's.
"""

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from quarterdeck.kernel.failures import BadInput, Conflicting, GitFailed
from quarterdeck.workplace.git import NO_CONFIGURATION, Completed, Git
from quarterdeck.workplace.lock import held

_TIMEOUT: Final = 900.0
_SETTINGS: Final = ("http.followRedirects=false", "credential.helper=", "core.askPass=", "fetch.unpackLimit=1")
_READABLE: Final = 0o022
_LATE: Final = ("non-fast-forward", "fetch first", "stale info", "[rejected]", "cannot lock ref")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A clone as fresh as the server."""

    path: Path
    commit: str
    branch: str
    """The branch of the server that `commit` is the end of."""


class RemoteClones:
    """Clones below `root` of what is below an address.

    address: `https://HOST`, without the end that names a repository. token: asked for each call; None = none is sent.
    variables: the machine's proxies and certificates.
    """

    def __init__(
        self,
        root: Path,
        address: Callable[[], str],
        token: Callable[[], str | None],
        variables: Mapping[str, str],
    ) -> None:
        self._root = root
        self._address = address
        self._token = token
        self._variables = dict(variables)

    def path_of(self, repository: str) -> Path:
        """Where the clone of `OWNER/NAME` lies."""
        host = (urlsplit(self._address()).netloc or "local").replace(":", "_")
        return self._root / host.lower() / f"{repository.lower()}.git"

    async def fetch(self, repository: str, base: str | None) -> Fetched:
        """Bring the clone of `OWNER/NAME` up to date. `base`: a branch; None = the server's default one.

        Raises GitFailed, BadInput.
        """
        path = self.path_of(repository)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        async with held(path.parent / f"{path.name}.lock", timeout=_TIMEOUT):
            git = await self._open(path)
            url = self._url(repository)
            default = await self._call(git, repository, "ls-remote", "--symref", url, "HEAD")
            branch = base or _default(default.stdout.decode("utf-8", "replace"))
            if not branch:
                raise BadInput(f"{repository} has no default branch", fix="name one with `base`")
            spec = "+refs/heads/*:refs/remotes/origin/*"
            await self._call(git, repository, "fetch", "--quiet", "--prune", "--no-tags", url, spec)
            found = await git.run(
                "rev-parse", "--verify", "--quiet", f"refs/remotes/origin/{branch}^{{commit}}", ok=range(256)
            )
        if found.exit_code != 0:
            raise BadInput(f"{repository} has no branch {branch[:200]!r}", fix="correct `base`, or leave it out")
        return Fetched(path, found.text, branch)

    async def push(self, repository: str, path: Path, branch: str, commit: str) -> None:
        """Put `commit` of the repository at `path` onto that branch of the server, forward only.

        Raises Conflicting where the branch is somewhere else there, GitFailed.
        """
        git = Git("-C", str(path), environment={} if path != self.path_of(repository) else NO_CONFIGURATION)
        ref, url = f"refs/heads/{branch}", self._url(repository)
        listed = await self._call(git, repository, "ls-remote", url, ref)
        if listed.text.partition("\t")[0] == commit:
            return
        # Without `+` git itself refuses whatever is not a move forward.
        await self._call(git, repository, "push", "--quiet", "--no-verify", url, f"{commit}:{ref}")

    async def _open(self, path: Path) -> Git:
        git = Git(f"--git-dir={path}", environment=NO_CONFIGURATION, umask=_READABLE)
        if not _exists(path):
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            await Git(environment=NO_CONFIGURATION, umask=_READABLE).run("init", "--quiet", "--bare", str(fresh))
            fresh.rename(path)
        return git

    def _url(self, repository: str) -> str:
        return f"{self._address()}/{repository}.git"

    async def _call(self, git: Git, repository: str, *arguments: str) -> Completed:
        """One command that speaks with the server. Raises GitFailed, Conflicting, with the token nowhere in them."""
        token = self._token()
        done = await git.run(
            *arguments, env=self._environment(token), settings=_SETTINGS, ok=range(256), timeout=_TIMEOUT
        )
        if done.exit_code == 0:
            return done
        why = _without(" ".join(done.complaint.split()), token)
        if arguments[0] == "push" and any(sign in why for sign in _LATE):
            raise Conflicting(
                f"a branch of {repository} is somewhere else on the server", why=why, fix="see what is on it there"
            )
        fix = "see whether the token may read and write its contents" if "40" in why or "denied" in why else ""
        raise GitFailed(f"git {arguments[0]} of {repository} failed", why=why, fix=fix)

    def _environment(self, token: str | None) -> dict[str, str]:
        address = self._address()
        scheme = urlsplit(address).scheme
        told = {"GIT_ALLOW_PROTOCOL": scheme or "file", "GIT_ASKPASS": "", "SSH_ASKPASS": ""}
        told |= {name: value for name, value in self._variables.items() if name.lower().endswith("_proxy")}
        if certificates := self._variables.get("SSL_CERT_FILE"):
            told["GIT_SSL_CAINFO"] = certificates
        if token and scheme in ("http", "https"):
            basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
            told |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"http.{address}/.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
            }
        return told


def _exists(path: Path) -> bool:
    return path.exists()


def _default(listed: str) -> str:
    """The default branch from `ls-remote --symref`."""
    for line in listed.splitlines():
        if line.startswith("ref: refs/heads/") and line.endswith("\tHEAD"):
            return line.removeprefix("ref: refs/heads/").removesuffix("\tHEAD")
    return ""


def _without(text: str, token: str | None) -> str:
    """The text without the token, in every form in which it was handed out."""
    if not token:
        return text
    for secret in (base64.b64encode(f"x-access-token:{token}".encode()).decode(), token):
        text = text.replace(secret, "[token]")
    return text
