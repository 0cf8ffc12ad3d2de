"""Which CLIs are on this machine, and what of it a sandbox has to see for them to start.

Rules
- Found by PATH alone, as a shell would find them. Links are followed: what is mounted is where the files really are.
- A package of npm is seen with everything that is installed beside it, a program of its own alone. What lies in a
  system directory is seen anyway.
- Things are seen at their own paths, so that links and scripts hold; what lies where a sandbox has something of its own
  (/tmp, its home) is seen below /opt/agents.
- Nothing is started. A version is read from the package's own file; a program without one has to be asked.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.agents.profiles.port import Installation, Profile
from quarterdeck.workplace.port import ENVIRONMENT, HOME, WORKSPACE

NODE: Final = "node"
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_OURS: Final = ("/tmp", "/run", "/var", "/proc", "/dev", "/sys", "/etc", WORKSPACE, ENVIRONMENT, HOME)
_ELSEWHERE: Final = "/opt/agents"
_HEAD: Final = 256
_PACKAGE: Final = "package.json"
_PACKAGES: Final = "node_modules"


@dataclass(frozen=True, slots=True)
class Found:
    """What of a CLI is on this machine."""

    profile: Profile
    installation: Installation | None
    """None = it cannot be started; `missing` says why."""
    missing: str = ""


def look(profile: Profile, path: str, names: Sequence[str] = ()) -> Found:
    """Find the CLI along `path`. `names`: what to look for instead of the profile's own programs."""
    wanted = tuple(names) or profile.programs
    program = _first(wanted, path)
    companion = _first(profile.adapts, path)
    if program is None:
        what = f"`{wanted[0]}`, the adapter for `{profile.adapts[0]}`," if companion else f"`{wanted[0]}`"
        return Found(profile, None, f"{what} is not on PATH" if wanted else "no command")
    files = [program] if companion is None else [program, companion]
    node = _first((NODE,), path)
    if any(_runs_on_node(file) for file in files):
        if node is None:
            return Found(profile, None, f"`{NODE}`, which `{wanted[0]}` runs on, is not on PATH")
        files.append(node)
    trees = {_tree(file) for file in files}
    places = {tree: _inside(tree, number) for number, tree in enumerate(sorted(trees))}
    seen = {str(file): _seen(file, places) for file in files}
    installation = Installation(
        program=seen[str(program)],
        mounts={place: tree for tree, place in places.items() if not _within(str(tree), _SYSTEM)},
        path=tuple(dict.fromkeys(str(Path(seen[str(file)]).parent) for file in files if file == node)),
        companion=seen[str(companion)] if companion is not None else "",
        version=_version(companion or program),
    )
    return Found(profile, installation)


def on_host(installation: Installation) -> Path:
    """Where the file of the vendor's CLI lies on this machine."""
    inside = installation.companion or installation.program
    for place, tree in installation.mounts.items():
        if _within(inside, (place,)):
            return tree / inside[len(place) :].lstrip("/") if inside != place else tree
    return Path(inside)


def _first(names: Sequence[str], path: str) -> Path | None:
    """The real file of the first of `names` that is on PATH and can be run."""
    for name in names:
        places = [Path(name)] if "/" in name else [Path(part) / name for part in path.split(os.pathsep) if part]
        for place in places:
            if place.is_file() and os.access(place, os.X_OK):
                return place.resolve()
    return None


def _runs_on_node(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            first = opened.read(_HEAD).partition(b"\n")[0]
    except OSError:  # it cannot be read, only run: no script
        return False
    return first.startswith(b"#!") and NODE.encode() in first


def _tree(file: Path) -> Path:
    """What has to be seen for `file` to run: the outermost folder of packages that it lies in, or itself."""
    for index, part in enumerate(file.parts):
        if part == _PACKAGES:
            return Path(*file.parts[: index + 1])
    return file


def _within(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _inside(tree: Path, number: int) -> str:
    """Where a tree is seen."""
    if _within(str(tree), _SYSTEM) or not _within(str(tree), _OURS):
        return str(tree)
    return f"{_ELSEWHERE}/{number}/{tree.name}"


def _seen(file: Path, places: dict[Path, str]) -> str:
    tree = _tree(file)
    rest = file.relative_to(tree)
    return str(Path(places[tree]) / rest) if rest.parts else places[tree]


def _version(file: Path) -> str:
    """What the package says that `file` belongs to; empty where it is no package."""
    if _PACKAGES not in file.parts:
        return ""
    for folder in file.parents:
        if folder.name == _PACKAGES:
            return ""
        try:
            package = json.loads((folder / _PACKAGE).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not here, or not a package's: the next one up
            continue
        version = package.get("version") if isinstance(package, dict) else None
        if isinstance(version, str):
            return version
    return ""
