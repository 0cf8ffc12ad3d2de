"""The program that runs inside a sandbox and does there what the host asks for.

Rules
- Standard library of Python 3.8 only: it runs with whatever interpreter is found inside. It is shipped with `wire` and
  the other `worker_*` files.
- Frames (see `wire`) come on standard input and leave on standard output; a request has an id, and requests are
  answered as they finish. `{"op": "cancel", "target": id}` ends a running one.
- The first frame configures it; its answer says that the sandbox is ready.
- When standard input ends, everything it started is killed and it ends.
- A failure is an answer that names its class; the worker goes on.
"""

# Raw paths; pathlib would only slow the start of every sandbox.
# ruff: noqa: PTH100, PTH108, PTH118, PTH120, PTH123
from __future__ import annotations

import _thread
import errno
import os
import resource
import sys

from quarterdeck.workplace import wire, worker_bridge, worker_processes, worker_session
from quarterdeck.workplace.worker_exec import Run
from quarterdeck.workplace.worker_files import Files
from quarterdeck.workplace.worker_git import Git
from quarterdeck.workplace.worker_git_command import Cancelled

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any
else:  # the compiled half of it, which loads in no time
    import _signal as signal

_SEARCH = "import sys; sys.path.insert(0, sys.argv[1]); from quarterdeck.workplace.worker import search; search()"
_STACK = 2 * 1024 * 1024
"""Bytes of a thread's: all of them count against what the worker may use, and a connection or a command takes one."""
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


class Worker:
    """Serves one host until its input ends."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._writing = _thread.allocate_lock()
        self._running: dict[int, Run] = {}
        self._sessions = worker_session.Sessions(self._send)
        self._hardening = _thread.allocate_lock()
        """Held until it is done."""
        self._env: dict[str, str] = {}
        self._configuration: dict[str, Any] = {}
        self._files: Files | None = None
        self._git: Git | None = None

    def serve(self) -> None:
        """Read requests until the end of input."""
        while True:
            prefix = self._take(wire.LENGTHS.size)
            if not prefix:
                return
            header_size, payload_size = wire.lengths(prefix)
            header = wire.header_of(self._take(header_size))
            payload = self._take(payload_size)
            self._dispatch(header, payload)

    def abandon(self) -> None:
        """Kill the process groups of running commands."""
        for run in list(self._running.values()):
            run.kill()
        self._sessions.abandon()

    def _take(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            data = os.read(self._source, min(size - len(parts), 1024 * 1024))
            if not data:
                if parts:
                    raise wire.BadFrame("the input ends inside a frame")
                return b""
            parts += data
        return bytes(parts)

    def _dispatch(self, header: dict[str, Any], payload: bytes) -> None:
        operation, number = header["op"], header["id"]
        if operation == "cancel":
            run = self._running.get(header["target"])
            if run is not None:
                run.cancel()
            return
        quick = {"configure": self._configure, "read": self._read, "write": self._write, "stat": self._stat}
        slow = {
            "list": self._list,
            "search": self._search,
            "exec": self._exec,
            "import": self._import,
            "export": self._export,
        }
        if operation in quick:
            self._answer(number, quick[operation], header, payload)
            return
        if operation in worker_session.OPERATIONS:
            self._session(header, payload)
            return
        if operation not in slow:
            self._send({"id": number, "error": "ValueError", "message": f"no such operation: {operation}"})
            return
        self._running[number] = Run()
        try:
            work = (number, slow[operation], header, payload)
            worker_processes.begin(self._answer_slowly, *work)
        except RuntimeError as error:  # the sandbox's process limit counts threads
            self._running.pop(number, None)
            self._send(*_no_thread(number, operation, str(error)))

    def _answer_slowly(self, *work: Any) -> None:
        worker_processes.step_back()
        self._answer(*work)

    def _answer(
        self,
        number: int,
        act: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]],
        header: dict[str, Any],
        payload: bytes,
    ) -> None:
        try:
            result, data = act(header, payload)
            answer = {"id": number, "ok": result}
        except OSError as error:
            data = b""
            name = type(error).__name__
            answer = {"id": number, "error": name, "errno": error.errno, "message": error.strerror or str(error)}
            answer["path"] = header.get("path", "")
        except ValueError as error:
            data, answer = b"", {"id": number, "error": "ValueError", "message": str(error)}
        except Cancelled:
            data, answer = b"", {"id": number, "error": "Cancelled", "message": "cancelled"}
        except Exception as error:  # noqa: BLE001 -- it is recorded: the host raises it as a failure of ours
            data, answer = b"", {"id": number, "error": "Bug", "message": f"{type(error).__name__}: {error}"}
        finally:
            self._running.pop(number, None)
        self._send(answer, data)

    def _session(self, header: dict[str, Any], payload: bytes) -> None:
        env, cwd = self._env, ""
        if header["op"] == "open":
            self._hardened()
            env = {**env, **header["env"]}
            try:
                cwd = self._open().real(header["cwd"])
            except (ValueError, OSError) as error:
                self._send({"id": header["id"], "error": "ValueError", "message": str(error)})
                return
        self._sessions.handle(header, payload, env, cwd)

    def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        left = memoryview(wire.pack(header, payload))
        with self._writing:
            while left:
                left = left[os.write(self._sink, left) :]

    # -- operations --------------------------------------------------------------------------------------------------

    def _configure(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        self._configuration = header
        self._env = dict(header["env"])
        _limit(header["limits"])
        places = dict(header["places"])
        workspace = places["/workspace"]
        self._files = Files(workspace, places, header["confined"])
        self._git = Git(workspace, header["objects"], {**self._env, "PATH": header["path"]}, header["scratch"])
        if header["left_behind"]:
            _unlock(os.path.join(workspace, ".git"))
        port = None
        if header["proxy"]:
            port = worker_bridge.start(header["proxy"], header["proxy_port"])
            url = f"http://127.0.0.1:{port}"
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
                self._env.setdefault(name, url)
            for name in ("NO_PROXY", "no_proxy"):  # the proxy's loopback is not the sandbox's
                self._env.setdefault(name, "127.0.0.1,localhost,::1")
        bridges = {}
        for wanted, path in header["bridges"]:
            bridges[wanted] = worker_bridge.start(path, 0 if header["ports_shared"] else wanted)
        self._harden()
        return {"python": sys.version.split()[0], "proxy_port": port, "bridges": bridges}, b""

    def _harden(self) -> None:
        self._hardening.acquire()
        try:
            worker_processes.begin(self._hardens)
        except RuntimeError:
            self._hardening.release()
            raise

    def _hardens(self) -> None:
        try:
            _harden()
        finally:
            self._hardening.release()

    def _hardened(self) -> None:
        """Wait until other processes have no way into this one."""
        with self._hardening:
            return

    def _read(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        return {}, self._open().read(header["path"], header["offset"], header["limit"])

    def _write(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        self._open().write(header["path"], payload, header["mode"])
        return {}, b""

    def _stat(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        return self._open().stat(header["path"]), b""

    def _list(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        found = self._open().list(
            header.get("path", "."), header.get("depth", 1), header.get("limit", 1000), header.get("glob")
        )
        return found, b""

    def _search(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """In a process of its own: a regular expression can run for ever, and nothing else would be served."""
        root = _root()
        argv = [sys.executable, "-I", "-S", "-B", "-c", _SEARCH, root]
        order = wire.written({**{key: self._configuration[key] for key in ("places", "confined")}, **header})
        limit = wire.HEADER_LIMIT // 2
        result, output = self._running[header["id"]](
            argv,
            stdin=order.encode(),
            env=self._env,
            cwd=self._open().workspace,
            timeout=header.get("timeout", 30.0),
            limit=limit,
        )
        if result["exit_code"] != 0:
            if "timeout" in result["flags"]:
                raise TimeoutError(110, "the search took too long")
            raise RuntimeError(output[result["stdout"] :].decode("utf-8", "replace")[-2000:])
        found = wire.understood(output[: result["stdout"]].decode())
        if "error" in found:
            raise (ValueError if found["kind"] == "ValueError" else OSError)(*found["error"])
        return found, b""

    def _exec(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        command = header["command"]
        self._hardened()
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        answer = self._running[header["id"]](
            argv,
            stdin=payload,
            env={**self._env, **header["env"]},
            cwd=self._open().real(header["cwd"]),
            timeout=header["timeout"],
            limit=header["limit"],
        )
        worker_processes.bury()
        return answer

    def _import(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        assert self._git is not None
        self._git.import_(header, self._asks(header["id"]))
        return {}, b""

    def _export(self, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        assert self._git is not None
        return self._git.export(header, self._asks(header["id"]))

    def _asks(self, number: int) -> Callable[[], bool]:
        return self._running[number].cancelled

    def _open(self) -> Files:
        if self._files is None:
            raise ValueError("the worker is not configured")
        return self._files


def _no_thread(number: int, operation: str, reason: str) -> tuple[dict[str, Any], bytes]:
    """The answer where there is no thread to serve a request: for a command, an exit code, because it is what runs
    beside it that took them all."""
    if operation != "exec":
        return {"id": number, "error": "OSError", "errno": errno.EAGAIN, "message": reason}, b""
    said = f"cannot start: {reason}\n".encode()
    return {"id": number, "ok": {"exit_code": 126, "seconds": 0.0, "flags": [], "stdout": 0}}, said


def _root() -> str:
    """The directory that holds the shipped package."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _unlock(directory: str) -> None:
    """Remove lock files of git processes that are certainly dead: they would refuse every later commit."""
    for name in ("index.lock", "HEAD.lock", "config.lock"):
        try:
            os.unlink(os.path.join(directory, name))
        except OSError:  # not there, or no git directory any more
            continue


def _limit(limits: dict[str, int]) -> None:
    """Set hard limits: nothing inside can raise them again. A lower limit of the host stays."""
    for name, value in limits.items():
        which = getattr(resource, name, None)
        if which is None:
            continue
        hard = resource.getrlimit(which)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(which, (bound, bound))
        except (ValueError, OSError) as error:  # macOS knows some limits only by name
            sys.stderr.write(f"limit {name} not set: {error}\n")


def _first_to_go() -> None:
    """Linux only. A machine that runs out of memory ends what runs here before anything else: agents can have the
    kernel hold more for them than a watchdog can count."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:  # no Linux, or a machine that does not let us say so
        return


def _harden() -> None:
    """Linux only. Other processes of the sandbox have the same uid: without this they could write into this one's
    memory or its pipes and answer in its place. It also becomes the parent of orphans, so that they are found at the
    end. In a thread, because loading ctypes takes longer than the rest of the start."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes  # noqa: PLC0415 -- slow to load, and needed on Linux only

    library = ctypes.CDLL(None)
    library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def search() -> None:
    """Entry of the search process: an order on standard input, its result on standard output."""
    order = wire.understood(sys.stdin.read())
    files = Files(order["places"]["/workspace"], order["places"], order["confined"])
    try:
        found = files.search(
            order["pattern"],
            order.get("path", "."),
            order.get("glob"),
            order.get("limit", 200),
            order.get("ignore_case", False),
        )
    except (ValueError, OSError) as error:
        found = {"kind": "ValueError" if isinstance(error, ValueError) else "OSError", "error": list(error.args[:2])}
    sys.stdout.write(wire.written(found))


def main() -> None:
    """Serve on standard input and output. Both are moved away first, so that nothing else writes into the protocol."""
    worker_processes.keep_to_itself()
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _first_to_go()
    _thread.stack_size(_STACK)
    worker = Worker(source, sink)
    try:
        worker.serve()
    finally:
        worker.abandon()
        worker_processes.end_all()
        os._exit(0)
