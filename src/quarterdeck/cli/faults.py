"""What a person is told when something went wrong. Pure, except that a trace is written to a file.

Rules
- Light: nothing here may make `--help` slower.
- What happened, why, the next command to type, and the run where there is one. Never a bare trace.
- An error of ours says where its trace was written; its exit code is 1.
- Being interrupted is no error: the state is kept, and the command that goes on is printed.
"""

import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from quarterdeck.kernel.failures import Exit, QuarterdeckError, StoreUnreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that went wrong, with the keys that `--json` prints."""

    message: str
    why: str = ""
    fix: str = ""
    """The next command to type, or what to change."""
    run: str | None = None
    exit_code: int


@dataclass(frozen=True, slots=True)
class Written:
    """Where a trace went; `path` is None where it could not be written."""

    path: Path | None


def of_error(error: QuarterdeckError, run: str | None) -> Fault:
    """What an error of the product says."""
    fix = error.fix or (f"quarterdeck show {run}" if run else "quarterdeck doctor")
    if run and error.fix and isinstance(error, StoreUnreachable):
        fix = f"{error.fix}; then: quarterdeck show {run}"
    return Fault(message=error.message, why=error.why, fix=fix, run=run, exit_code=error.exit_code)


def of_bug(error: BaseException, run: str | None, written: Written) -> Fault:
    """What is said about an exception that nobody foresaw."""
    what = traceback.format_exception_only(error)[-1].strip().splitlines() or [type(error).__name__]
    where = f"the trace is in {written.path}" if written.path else "its trace could not be written"
    fix = f"quarterdeck resume {run}" if run else f"report this with {written.path}" if written.path else ""
    return Fault(message=f"a bug in Quarterdeck: {what[0]}", why=where, fix=fix, run=run, exit_code=Exit.FAILED)


def of_machine(error: OSError, run: str | None) -> Fault:
    """What is said where the machine refuses what every program needs: room, descriptors, memory."""
    where = f" ({error.filename})" if error.filename else ""
    fix = "quarterdeck doctor, then try again"
    if run:
        fix = f"mend that, then: quarterdeck resume {run}"
    why = f"{error.strerror or error}{where}"
    return Fault(message="this machine is not well", why=why, fix=fix, run=run, exit_code=Exit.FAILED)


def of_interrupt(run: str | None) -> Fault:
    """What is said after Ctrl-C, SIGTERM or a lost terminal."""
    if run is None:
        return Fault(message="interrupted", exit_code=Exit.INTERRUPTED)
    return Fault(
        message="interrupted; everything done so far is kept",
        fix=f"quarterdeck resume {run}",
        run=run,
        exit_code=Exit.INTERRUPTED,
    )


def paragraphs(fault: Fault) -> list[tuple[str, str]]:
    """(label, text) of what a person reads, the label empty for the first one."""
    lines = [("", fault.message), ("why", fault.why), ("run", fault.run or ""), ("next", fault.fix)]
    return [(label, text) for label, text in lines if text]


def write_trace(error: BaseException, logs: Path, now: float) -> Written:
    """Keep the trace in a file of its own below `logs`."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S%fZ")
    try:
        logs.mkdir(parents=True, exist_ok=True)
        path = logs / f"trace-{stamp}.log"
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return Written(None)
    return Written(path)
