"""The ways out of a sandbox that are one snippet: what is tried, and how the answer is read.

Rules
- A row is a Python snippet that does the forbidden thing. Ending normally means that it worked; an OSError means that
  it was refused; anything else is a broken row and fails the test.
"""

# Rows stay on one line where they can.
# ruff: noqa: E501

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

_PRELUDE: Final = """
import errno, os, sys
P = eval(os.environ["QD_ROW"])  # loading json takes longer
def read(path):
    with open(path, "rb") as file:
        return file.read(100000)
def holds(path):
    if P["secret"].encode() not in read(path):
        raise OSError(errno.ENOENT, "read, but it is another file")
"""

_CALL: Final = """
import ctypes
C = ctypes.CDLL(None, use_errno=True)
ARM = os.uname().machine == "aarch64"
def call(x86, arm, *args):
    C.syscall.restype = ctypes.c_long
    result = C.syscall(ctypes.c_long(arm if ARM else x86), *[
        ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
_LOADED: Final = ("fcntl", "json", "signal", "socket", "stat", "struct")
"""What rows use besides, loaded where they do: loading takes longer than most of them."""

_FOOTER: Final = """
try:
    row()
except OSError as error:
    print("refused:", error)
    raise SystemExit(3)
"""

Control = Literal["agent", "owner", "none"]


@dataclass(frozen=True, slots=True)
class Row:
    """One way out."""

    name: str
    code: str
    control: Control = "agent"
    """Who can do it outside: the uid that agents run as, the deck's owner, or nobody on every machine."""
    optional: bool = False
    """The control may fail for want of a kernel feature or a device on this machine."""


ROWS: Final = (
    # -- reading what is the host's
    Row("read /etc/shadow", "assert b':' in read('/etc/shadow')", "owner", optional=True),
    Row("read a planted secret", "holds(P['planted'])", "owner"),
    Row("read an ssh key", "holds(P['key'])", "owner"),
    Row("read by symlink", "os.symlink(P['planted'], 'l1'); holds('l1')", "owner"),
    Row("read by ..", "holds('../' * 30 + P['planted'])", "owner"),
    Row("read by /proc/1/root", "holds('/proc/1/root' + P['planted'])", "owner", optional=True),
    Row("read by /proc/1/cwd", "holds('/proc/1/cwd/' + '../' * 30 + P['planted'])", "owner", optional=True),
    Row(
        "read by any process's root",
        "pids = [p for p in os.listdir('/proc') if p.isdigit() and os.path.exists('/proc/%s/root%s' % (p, P['planted']))]\n"
        "if not pids: raise OSError('none')\nholds('/proc/%s/root%s' % (pids[0], P['planted']))",
        "owner",
    ),
    Row(
        "the parent's environment",
        "found = b''\nfor p in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try: found += b'' if int(p) == os.getpid() else read('/proc/%s/environ' % p)\n"
        "    except OSError: pass\n"
        "if b'QD_PARENT_SECRET' not in found: raise OSError('not there')",
        "owner",
    ),
    Row(
        "the environment of process 1",
        "if read('/proc/1/environ'): return\nraise OSError('empty')",
        "owner",
        optional=True,
    ),
    # -- writing what is the host's
    Row("write /usr", "open('/usr/qd-test', 'w').close(); os.unlink('/usr/qd-test')", "owner", optional=True),
    Row("write /", "open('/qd-test', 'w').close(); os.unlink('/qd-test')", "owner", optional=True),
    Row("write /etc", "open('/etc/qd-test', 'w').close(); os.unlink('/etc/qd-test')", "owner", optional=True),
    Row("write the mirror", "open(P['objects'] + '/x', 'w').close(); os.unlink(P['objects'] + '/x')", "owner"),
    Row("write the mirror where it is mounted", "open('/objects/0/x', 'w')", "none"),
    Row(
        "write beside the workspace", "open('../beside', 'w').close()", optional=True
    ),  # root's deck keeps it for itself
    Row("write the worker's program", "open('/opt/quarterdeck/x', 'w')", "none"),
    Row("write /dev", "open('/dev/qd', 'w').write('x')", "none"),
    # -- talking to somebody
    Row("loopback TCP of the host", "socket.create_connection(('127.0.0.1', P['port']), 2)"),
    Row("abstract socket of the host", "socket.socket(socket.AF_UNIX).connect('\\0' + P['abstract'])"),
    Row("pathname socket of the host", "socket.socket(socket.AF_UNIX).connect(P['socket'])"),
    Row(
        "pathname socket through any mount",
        "import glob\nfor place in ('/usr', '/etc', '/objects', '/opt', '/proxy', '/run', '/var', '/env'):\n"
        "    for base, _, names in os.walk(place):\n"
        "        for name in names:\n"
        "            path = os.path.join(base, name)\n"
        "            if stat.S_ISSOCK(os.lstat(path).st_mode): socket.socket(socket.AF_UNIX).connect(path); return\n"
        "raise OSError('there is no socket')",
        "none",
    ),
    Row(
        "public address",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 53))",
        optional=True,
    ),
    Row("packet socket", "socket.socket(17, socket.SOCK_RAW, 0)", "owner", optional=True),
    Row("vsock", "socket.socket(40, socket.SOCK_STREAM)", optional=True),
    Row("netlink beyond routes", "socket.socket(16, socket.SOCK_RAW, 15)"),
    # -- other processes
    Row("see a process of the host", "holds('/proc/%d/cmdline' % P['pid'])"),
    Row("signal a process of the host", "holds('/proc/%d/cmdline' % P['pid']); os.kill(P['pid'], 0)", "owner"),
    Row(
        "list processes of the host",
        "seen = [p for p in os.listdir('/proc') if p.isdigit()]\n"
        "names = [read('/proc/%s/cmdline' % p) for p in seen if os.path.exists('/proc/%s/cmdline' % p)]\n"
        "if not any(P['secret'].encode() in name for name in names): raise OSError('only own processes')",
    ),
    Row("ptrace of process 1", "call(101, 117, 16, 1, 0, 0)", "none"),
    Row("ptrace at all", "call(101, 117, 0, 0, 0, 0)"),
    Row(
        "memory of the worker",
        "fd = os.open('/proc/%d/mem' % os.getppid(), os.O_RDWR)",
        "none",
    ),
    # Whoever is process 1 inside holds the pipes to the host, or dies with them: it must be the worker itself.
    Row("memory of process 1", "os.open('/proc/1/mem', os.O_RDWR)", "owner", optional=True),
    Row("descriptors of process 1", "os.listdir('/proc/1/fd')", "owner", optional=True),
    Row(
        "answer the host in the worker's place",
        "frame = json.dumps({'id': 0, 'ok': {}}).encode()\n"
        "fd = os.open('/proc/1/fd/1', os.O_WRONLY)\nos.write(fd, struct.pack('>II', len(frame), 0) + frame)",
        "none",
    ),
    Row(
        "end process 1", "os.kill(1, signal.SIGKILL)\nimport time; time.sleep(0.2)\nraise OSError('it goes on')", "none"
    ),
    Row("descriptors of the worker", "os.listdir('/proc/%d/fd' % os.getppid())", "none"),
    # -- the kernel
    Row("user namespace by unshare", "call(272, 97, 0x10000000)", optional=True),
    Row(
        "user namespace by clone",
        "pid = call(56, 220, 0x10000000 | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)",
        optional=True,
    ),
    Row(
        "user namespace by clone3",
        "args = struct.pack('<11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)\n"
        "pid = call(435, 435, ctypes.c_char_p(args), len(args))\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)",
        optional=True,
    ),
    Row("io_uring", "call(425, 425, 4, ctypes.create_string_buffer(256))", optional=True),
    Row("keyctl", "call(250, 219, 0, -3, 1)", optional=True),
    Row(
        "bpf",
        "call(321, 280, 0, ctypes.c_char_p(struct.pack('<IIIIIIII', 1, 4, 4, 4, 0, 0, 0, 0)), 32)",
        "owner",
        optional=True,
    ),
    Row(
        "perf_event_open",
        "call(298, 241, ctypes.create_string_buffer(struct.pack('<II', 1, 112) + bytes(104)), 0, -1, -1, 0)",
        "owner",
        optional=True,
    ),
    Row("userfaultfd", "call(323, 282, 1)", optional=True),
    Row("unseen memory", "os.memfd_create('x')"),
    Row("large shared memory", "call(29, 194, 0, 1 << 20, 0o1600)"),
    Row("x32 calls", "sys.exit(3) if ARM else call(0x40000000 | 39, 0)", "none"),
    Row("mount", "call(165, 40, b'none', b'/tmp', b'tmpfs', 0, 0)", "none"),
    Row("remount the root", "call(165, 40, b'none', b'/', 0, 0x1000 | 32, 0)", "none"),
    Row("new mount calls", "call(430, 430, b'tmpfs', 0)", "none"),
    Row("chroot", "os.chroot('/tmp')", "owner", optional=True),
    Row("device node", "os.mknod('node', stat.S_IFBLK | 0o600, os.makedev(254, 0))", "owner", optional=True),
    Row(
        "setuid program",
        "import glob\nfound = [p for d in ('/usr/bin', '/usr/sbin') for p in glob.glob(d + '/*')"
        " if os.stat(p).st_mode & stat.S_ISUID and os.stat(p).st_uid in (0, 65534)]\n"
        "if 'NoNewPrivs:\\t1' in open('/proc/self/status').read(): raise OSError('no new privileges')\n"
        "if not found: raise OSError('no setuid program')",
        optional=True,
    ),
    Row(
        "any capability",
        "caps = [l for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapPrm', 'CapBnd', 'CapAmb'))]\n"
        "if not any(int(l.split()[1], 16) for l in caps): raise OSError('none')",
    ),
    Row("become root", "os.setuid(0)", "owner", optional=True),
    Row(
        "block device",
        "import glob\nfound = [p for p in glob.glob('/dev/*') if stat.S_ISBLK(os.lstat(p).st_mode)]\n"
        "if not found: raise OSError('none')\nos.close(os.open(found[0], os.O_RDONLY))",
        "owner",
        optional=True,
    ),
    Row("sysrq", "os.close(os.open('/proc/sysrq-trigger', os.O_WRONLY))", "owner", optional=True),
    Row("kcore", "os.close(os.open('/proc/kcore', os.O_RDONLY))", "owner", optional=True),
    Row("kernel memory", "os.close(os.open('/dev/mem', os.O_RDONLY))", "owner", optional=True),
    Row("core_pattern", "os.close(os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY))", "owner", optional=True),
    Row(
        "sysctl of the sandbox's own",
        "os.close(os.open('/proc/sys/user/max_user_namespaces', os.O_WRONLY))",
        "owner",
        optional=True,
    ),
    Row(
        "TIOCSTI",
        "import pty, termios\nm, s = pty.openpty()\nfcntl.ioctl(s, termios.TIOCSTI, b'x')",
        "owner",
        optional=True,
    ),
    Row("controlling terminal", "os.close(os.open('/dev/tty', os.O_RDWR))", "none"),
    Row(
        "raise a limit",
        "import resource\nhard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "try: resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))\n"
        "except ValueError as error: raise OSError(str(error))",
        "none",
    ),
)


def told(facts: Mapping[str, object]) -> dict[str, str]:
    """What the environment of a row's script says of what there is to be reached: strings and numbers. Its command line
    must not say it, because rows look for that in those of others."""
    return {"QD_ROW": repr(dict(facts))}


def program(row: Row) -> str:
    """The row as a script."""
    body = "\n".join("    " + line for line in row.code.split("\n"))
    loads = "".join(f"import {name}\n" for name in _LOADED if f"{name}." in row.code)
    calls = _CALL if "call(" in row.code else ""
    return f"{_PRELUDE}{loads}{calls}\ndef row():\n{body}\n{_FOOTER}"


def judged(code: int | None, said: bytes) -> str:
    """`worked`, `refused: why`, or what is wrong with the row."""
    if code == 0:
        return "worked"
    if code == 3:
        return said.decode("utf-8", "replace").strip() or "refused"
    return f"broken ({code}): {said.decode('utf-8', 'replace')[-800:]}"
