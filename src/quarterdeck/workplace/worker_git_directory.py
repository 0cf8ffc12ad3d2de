"""Git directories and objects made by hand, where a command of git would cost a process (standard library of Python 3.8
only; see `worker`). The host makes the same bytes, to see whether what comes out of a sandbox is what it asked for.

Rules
- The same base, tree, author, message and time give the same commit.
- A git directory made here has a configuration of ours, and the mirror's objects beside its own.
"""

# Raw paths; pathlib would only slow the start of every sandbox.
# ruff: noqa: PTH102, PTH103, PTH106, PTH108, PTH118, PTH123
from __future__ import annotations

import os

from quarterdeck.workplace.worker_files import is_oid
from quarterdeck.workplace.worker_processes import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def commit_body(base: str, tree: str, message: str, author: str, when: int) -> bytes:
    """The bytes of the commit object. `author` is `name <email>`, `when` seconds since the epoch.

    Raises ValueError for text that cannot stand in a commit.
    """
    if "\0" in message or any(character in author for character in "\0\n"):
        raise ValueError("a commit cannot hold this message or author")
    stamp = f"{author} {when} +0000"
    text = message.rstrip("\n") + "\n"
    return f"tree {tree}\nparent {base}\nauthor {stamp}\ncommitter {stamp}\n\n{text}".encode()


def object_id(kind: bytes, body: bytes, digits: int) -> str:
    """Name of an object in a repository whose names have `digits` hex digits: 40 (SHA-1) or 64 (SHA-256)."""
    return str(_hashing(digits)(b"%s %d\0%s" % (kind, len(body), body)).hexdigest())


def _hashing(digits: int) -> Callable[[bytes], Any]:
    """Python's own where that will do: `hashlib` loads OpenSSL, which takes longer than all else of an export."""
    if digits == 40:
        try:
            import _sha1  # type: ignore[import-not-found]  # noqa: PLC0415 -- slow beside it; it is described nowhere
        except ImportError:  # a Python that is built without it
            pass
        else:
            found: Callable[[bytes], Any] = _sha1.sha1
            return found
    import hashlib  # noqa: PLC0415 -- see `preload`

    return hashlib.sha256 if digits == 64 else hashlib.sha1


def store(directory: str, kind: bytes, body: bytes, digits: int) -> str:
    """Write a loose object; git would take a process for it."""
    import zlib  # noqa: PLC0415 -- see `preload`

    name = object_id(kind, body, digits)
    folder = os.path.join(directory, "objects", name[:2])
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name[2:]), "wb") as file:
        file.write(zlib.compress(b"%s %d\0%s" % (kind, len(body), body), 1))
    return name


def preload() -> None:
    """Load what only an export needs, while git is at work for it. Most sandboxes never export anything."""
    _hashing(40)
    import zlib  # noqa: F401, PLC0415 -- loaded for later


def scratch_directory(parent: str) -> str:
    """A new directory for what only an export needs."""
    directory = os.path.join(parent, f"quarterdeck-{os.urandom(8).hex()}")  # `tempfile` would be slow to load
    os.mkdir(directory, 0o700)
    return directory


def remove(directory: str) -> None:
    """Delete a scratch directory; what resists is left to the sandbox's end. No link is followed."""
    with suppress(RecursionError):  # agents can write there, and have made folders without end
        for folder, _, files in os.walk(directory, topdown=False):  # `shutil` would be slow to load
            for name in files:
                with suppress(OSError):
                    os.unlink(os.path.join(folder, name))
            with suppress(OSError):
                os.rmdir(folder)


def checked(text: str) -> str:
    """`text`, which is an object's name. Raises ValueError where it is not."""
    if not is_oid(text):
        raise ValueError(f"not an object id: {text!r}")
    return text


def lay_out(directory: str, objects: Sequence[str], head: str, config: str) -> None:
    """A git directory with these directories of objects beside its own: `git init` would take a process, and look for
    templates. `head` and `config`: the content of those files."""
    for part in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        os.makedirs(os.path.join(directory, part))
    put(os.path.join(directory, "config"), config)
    put(os.path.join(directory, "HEAD"), head + "\n")
    put(os.path.join(directory, "objects", "info", "alternates"), "".join(path + "\n" for path in objects))


def configuration(name: str, email: str, oid: str) -> str:
    """The file `config` of a repository that names objects as `oid` is, with an identity unless `name` is empty."""
    long = len(oid) == 64
    lines = ["[core]", f"\trepositoryformatversion = {int(long)}", "\tfilemode = true", "\tbare = false"]
    lines += ["\tlogallrefupdates = true", "[gc]", "\tauto = 0", "[maintenance]", "\tauto = false"]
    if long:
        lines += ["[extensions]", "\tobjectformat = sha256"]
    if name:
        lines += ["[user]", f"\tname = {_quoted(name)}", f"\temail = {_quoted(email)}"]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def put(path: str, text: str) -> None:
    """Write a file of a git directory."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
