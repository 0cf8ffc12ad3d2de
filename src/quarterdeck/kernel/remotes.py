"""Which repository a URL means, and which URLs may stand on record.

Rules
- One repository has one identity, however it is spelled: over ssh, in ssh's short form (`git@host:o/r`), over http or
  https; with or without `.git`, a slash at the end, the port that the protocol has by itself, a user, capitals in the
  host's name. The identity is the https URL that the repository would have.
- Two repositories never share one where a spelling tells them apart: a path in somebody's home (`ada@host:r`) is that
  person's, because each user has one of that name. The accounts that forges give to everybody have no home.
- A path of this machine, and what has no form that is known here, is its own identity.
- No secret stands in a URL that is recorded. Whoever speaks http proves who they are by the user, the password or the
  query, and any of these may be a token; for ssh a user is a name.
"""

import re
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from quarterdeck.kernel.failures import BadConfiguration

_PORTS: Final = {"ssh": 22, "git+ssh": 22, "ssh+git": 22, "http": 80, "https": 443, "git": 9418}
"""Protocols of other machines, and the port that each has by itself."""
_SSH: Final = ("ssh", "git+ssh", "ssh+git")
_FORGES: Final = frozenset({"", "git", "gitea", "forgejo", "gogs", "gitlab"})
"""Accounts under which a forge serves everybody."""
_SHORT: Final = re.compile(r"(?:(?P<user>[^@/:\[\]]*)@)?(?P<host>\[[^\]/]+\]|[^/:\[\]@]+):(?P<path>.*)", re.DOTALL)
"""`[user@]host:path`: a colon before the first slash."""
_HOME: Final = re.compile(r"/*~(?P<user>[^/]*)(?:/+(?P<path>.*))?", re.DOTALL)


def identity(repository: str) -> str:
    """What is the same for everybody who means that repository: a URL, ssh's short form, or a path. Pure."""
    if repository.startswith("/"):
        return repository
    if "://" not in repository:
        found = _SHORT.fullmatch(repository)
        if found is None:
            return _bare(repository)
        user, path = found["user"] or "", found["path"]
        return f"https://{_host(found['host'])}/{_place(user, path, relative=not path.startswith('/'))}"
    try:
        parts = urlsplit(repository)
        host, port, scheme = parts.hostname, parts.port, parts.scheme
    except ValueError:  # a port that is no number, a bracket without the other one
        return _bare(repository)
    if scheme not in _PORTS or not host:
        return _bare(repository)
    shown = f"[{host}]" if ":" in host else host
    at = "" if port is None or port == _PORTS[scheme] else f":{port}"
    user = unquote(parts.username or "") if scheme in _SSH else ""
    return f"https://{_host(shown)}{at}/{_place(user, unquote(parts.path), relative=False)}"


def same(one: str, other: str) -> bool:
    """Whether two recorded repositories are one. Pure."""
    return one == other or identity(one) == identity(other)


def check_recordable(remote: str) -> None:
    """Raises BadConfiguration where something stands in a remote's URL that may be a secret. Pure."""
    if "://" not in remote:
        return
    try:
        parts = urlsplit(remote)
        told = _told(parts)
        host, port, scheme = parts.hostname or "", parts.port, parts.scheme
    except ValueError as error:
        # Not even the host is known: nothing of it is shown.
        raise BadConfiguration(
            "the address of the remote is no URL", why="its host or its port cannot be read", fix="git remote -v"
        ) from error
    if not told:
        return
    at = f"[{host}]" if ":" in host else host
    plain = f"{scheme}://{at}{'' if port is None else f':{port}'}{parts.path}"
    if scheme in _SSH:
        fix = f"take it out of the URL, and let ssh use a key: ssh-copy-id {at}"
    else:
        fix = f"git remote set-url NAME {plain}, and give the rest to git: git config --global credential.helper store"
    raise BadConfiguration(
        f"the address of the remote on {at} holds {told}", why="it would be recorded with every run", fix=fix
    )


def _told(parts: SplitResult) -> str:
    """What in a URL may be a secret, in words; empty = nothing."""
    if parts.password is not None:
        return "a password"
    if parts.scheme in _SSH:
        return ""
    if parts.username not in (None, "", "git"):
        return "a user, which may be a token"
    return "a query, which may hold a token" if parts.query or parts.fragment else ""


def _host(host: str) -> str:
    return host.lower().rstrip(".")


def _place(user: str, path: str, *, relative: bool) -> str:
    """The path, with whose home it lies in where it lies in one. relative: to the user's home."""
    home = _HOME.fullmatch(path)
    if home is not None:
        user, path, relative = home["user"] or user, home["path"] or "", True
    whose = f"~{user}/" if relative and user not in _FORGES else ""
    return whose + _bare(re.sub("/+", "/", path).lstrip("/"))


def _bare(text: str) -> str:
    return text.rstrip("/").removesuffix(".git").rstrip("/")
