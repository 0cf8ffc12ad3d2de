"""Git notes: what leads from a landed commit back to its thread."""

from typing import Final

from quarterdeck.workplace.git import Git
from quarterdeck.workplace.history import COMMITTER

NOTES: Final = "refs/notes/quarterdeck"


async def note_of(git: Git, commit: str, ref: str = NOTES) -> str | None:
    """The note of a commit; None = it has none."""
    done = await git.run("notes", f"--ref={ref}", "show", commit, ok=range(256))
    return done.stdout.decode("utf-8", "replace").strip() if done.exit_code == 0 else None


def note_stream(commit: str, text: str, old: str | None, ref: str = NOTES) -> bytes:
    """What `git fast-import` reads to write one note on top of the notes at `old`."""
    body = text.strip().encode("utf-8", "replace") + b"\n"
    message = b"Notes of Quarterdeck"
    name, mail = COMMITTER
    head = f"commit {ref}\ncommitter {name} <{mail}> now\n".encode()
    parent = f"from {old}\n".encode() if old is not None else b""
    data = b"data %d\n%s\n" % (len(message), message)
    return head + data + parent + b"N inline %s\ndata %d\n%s\n" % (commit.encode("ascii"), len(body), body) + b"done\n"
