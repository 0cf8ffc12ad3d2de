"""What a sandbox's worker answers, checked: what comes out of a sandbox is not believed.

Rules
- An answer that is not what was asked for is the sandbox's failure (SandboxFailed), never an agent's result.
- A command that was struck down has no exit status, whatever the worker says.
- An exported commit is recomputed here from what the caller asked for.
"""

from collections.abc import Mapping
from typing import Final

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace.port import ExecResult, Exported
from quarterdeck.workplace.watchdog import Verdict
from quarterdeck.workplace.worker_git_directory import commit_body, object_id

_LONGEST: Final = 1e9
"""Seconds that no command can have taken."""


def ports_of(answer: Mapping[str, object], wanted: Mapping[int, str]) -> Mapping[int, int]:
    """The real port of each that was asked for."""
    found = answer.get("bridges")
    if not isinstance(found, dict):
        found = {}
    real_ports = {}
    for port in wanted:
        real = found.get(str(port))
        if not isinstance(real, int):
            raise SandboxFailed("the worker inside the sandbox gave no proper answer")
        real_ports[port] = real
    return real_ports


def exec_result(header: Mapping[str, object], data: bytes, strikes: set[Verdict], limit: int) -> ExecResult:
    """How a command ended. `strikes`: what the watchdog found meanwhile; `limit`: bytes of each output."""
    code, seconds, flags, cut = (header.get(key) for key in ("exit_code", "seconds", "flags", "stdout"))
    if (
        not isinstance(seconds, int | float)
        or not 0 <= seconds <= _LONGEST  # which nan is not
        or not isinstance(cut, int)
        or not 0 <= cut <= len(data)
        or not isinstance(flags, list)
        or not all(isinstance(flag, str) for flag in flags)
    ):
        raise SandboxFailed("the worker inside the sandbox gave no proper answer")
    known = {"timeout", "stdout-truncated", "stderr-truncated"}
    return ExecResult(
        exit_code=code if isinstance(code, int) and 0 <= code < 256 and not strikes else None,
        stdout=data[:cut][:limit],
        stderr=data[cut:][:limit],
        seconds=float(seconds),
        flags=(*(flag for flag in flags if flag in known), *sorted(strikes)),
    )


def exported(
    header: Mapping[str, object], pack: bytes, base: str, message: str, signature: str, when: int, max_bytes: int
) -> Exported | None:
    """The change that was taken out; None where nothing differs. Raises ValueError beyond `max_bytes`."""
    if not header:
        return None
    tree, commit = str(header.get("tree")), str(header.get("commit"))
    if commit != object_id(b"commit", commit_body(base, tree, message, signature, when), len(base)):
        raise SandboxFailed("the exported commit is not the one that was asked for")
    if len(pack) > max_bytes:
        raise ValueError(f"the change is larger than {max_bytes} bytes")
    return Exported(commit, tree, pack)
