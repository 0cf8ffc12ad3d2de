"""What may be left on a machine when all runs have ended: nothing but repositories that are whole.

Rules
- The user's checkout is as it was; mirrors and remotes pass git's own check; no lock lies about.
- No process sees a workspace any more, and no workspace is left.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Final

from quarterdeck.testing.chaos.scene import Scene, checkout_state, git

_FLOCKS: Final = ("fetch.lock", "notes.lock")
"""Files that the kernel's locks are taken on; they stay."""
_OURS: Final = ("refs/heads/main", "refs/heads/quarterdeck/r-", "refs/notes/quarterdeck")


def of_repository(scene: Scene) -> Iterator[str]:
    """The user's checkout, and the repository that runs land in."""
    if (now := checkout_state(scene.repository)) != scene.state:
        yield f"the user's checkout changed:\n{scene.state}\nbecame\n{now}"
    for place in sorted({scene.repository, scene.landing}):
        yield from of_objects(place)
        for name in git(place, "for-each-ref", "--format=%(refname)").splitlines():
            if not name.startswith(_OURS):
                yield f"an unexpected ref in {place.name}: {name}"


def of_mirrors(scene: Scene) -> Iterator[str]:
    """The mirrors of a home."""
    if not scene.ground.mirrors.is_dir():
        return
    for place in sorted(path for path in scene.ground.mirrors.iterdir() if path.is_dir()):
        yield from of_objects(place)


def of_objects(place: Path) -> Iterator[str]:
    """One repository."""
    try:
        complaint = git(place, "fsck", "--full", "--strict", "--no-dangling", "--no-progress")
    except CalledProcessError as error:
        complaint = f"exit code {error.returncode}: {error.stdout}{error.stderr}"
    if complaint:
        yield f"git fsck of {place.name}: {complaint[:500]}"
    yield from (f"left lying: {path}" for path in sorted(place.rglob("*.lock")) if path.name not in _FLOCKS)


def of_machine(scene: Scene) -> Iterator[str]:
    """Processes and workspaces of a home."""
    for inmate in inmates(scene):
        yield f"a sandbox's process is left in {inmate.workspace}: {inmate.pid} {inmate.words[:100]}"
    for place in sorted(scene.ground.workspaces.iterdir()) if scene.ground.workspaces.is_dir() else ():
        yield f"a workspace is left: {place.name}"


@dataclass(frozen=True, slots=True)
class Inmate:
    """A living process that sees a workspace."""

    pid: int
    workspace: str
    words: str
    """Its command line."""

    @property
    def launcher(self) -> bool:
        return self.words.partition(" ")[0].endswith("bwrap")


def inmates(scene: Scene, beginning: str = "") -> list[Inmate]:
    """The processes that see a workspace of this scene whose name begins so."""
    mark = f"{scene.ground.root.name}/workspaces/".encode()
    place = re.compile(re.escape(mark) + b"([^/ \\0]+)/w")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            seen = place.search(words) or place.search((process / "mountinfo").read_bytes())
        except OSError:  # it has ended meanwhile
            continue
        if words and seen is not None and seen[1].decode().startswith(beginning):
            text = words.replace(b"\0", b" ").decode("utf-8", "replace")
            found.append(Inmate(int(process.name), seen[1].decode(), text))
    return found
