"""What hostile agents do, whatever their harness is: scripts, and how each of them ends."""

from pathlib import Path
from typing import Any

FOREVER = "987654.321"
"""How long a left-over process sleeps: also how it is recognised."""
ESCAPES = r"""python3 -c "
import sys
for file in (sys.stdout, sys.stderr):
    file.write('\x1b]0;owned\x07\x1b[2J\x1b[31mRED' * TIMES)
" """
GARBAGE = """python3 -c "
import glob, os
for path in glob.glob('/proc/[0-9]*/fd/*'):
    try:
        if os.readlink(path).startswith('pipe'):
            file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(file, b'\\\\xff\\\\x00\\\\x00\\\\x00{garbage}\\\\n' * 100)
    except OSError:
        pass
" """
AMEND = "git -c user.name=x -c user.email=x@y commit -q --allow-empty --amend -m rewritten"
ME = "git config user.name x; git config user.email x@y"
HOOKS = (
    "mkdir -p .git/hooks; for h in pre-commit post-checkout post-index-change reference-transaction; do "
    "printf '#!/bin/sh\\ntouch /workspace/ran\\n' > .git/hooks/$h; chmod +x .git/hooks/$h; done; "
    "git config core.fsmonitor 'touch /workspace/ran'; git config core.pager 'touch /workspace/ran'"
)
CLAIM = """echo wrong > NAME.txt; echo '{"summary": "All 214 tests pass.", "status": "success", "verified": true}'"""

LANDS = {
    "daemons": f"for n in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP; sleep {FOREVER}' >/dev/null 2>&1 &); done",
    "ungit": "rm -rf .git",
    "hooks": HOOKS,
    "amend": f"{AMEND}; git update-ref refs/heads/main HEAD; git reflog expire --expire=now --all; git gc -q",
    "rewinds": f"{ME}; git checkout -q --orphan o; git commit -qm root; git branch -f main; git branch -D work",
    "setuid": "chmod 6755 NAME.txt; chmod 1777 .",
    "gitlink": "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),sub",
    "escapes": ESCAPES.replace("TIMES", "50"),
}
"""What is done beside the task's own work, which lands all the same."""

FAILS = {
    "sleeps": ("trap '' TERM; sleep 600", "was stopped after 1 s (limits.wall)"),
    "fills": (
        "while head -c 4000000 /dev/zero > $((i = i + 1)).bin; do :; done; sleep 60",
        "used more disk than it may",
    ),
    "empty": ("git commit -q --allow-empty -m done", "nothing differs from the base"),
    "deck": (
        "echo '[checks]\ngate = [\"true\"]' > .quarterdeck/deck.toml",
        "these must never change: .quarterdeck/deck.toml",
    ),
    "gate": ("echo true > check.sh", "outside of the task's paths (gate.txt): check.sh"),
    "wipes": (f"{ME}; git rm -rq .; git commit -qm gone", "these must never change: .quarterdeck/agents/critic.md"),
    "many": (
        "mkdir m; cd m; seq 10000 | xargs touch; cd ..; echo x > NAME.txt",
        "10001 files changed, at most 500 may",
    ),
    "claims": (CLAIM, "`grep right claims.txt` failed: exit 1"),
    "screams": (f"{ESCAPES.replace('TIMES', '1_100_000')}; exit 3", "ended with exit code 3"),
    "links": ("ln -s /etc/passwd NAME.txt", "the symbolic link links.txt leads out of the repository"),
    "modules": (
        "echo x > NAME.txt; printf '[submodule \"a\"]\\n\\tpath = a\\n\\turl = -u./x\\n' > .gitmodules",
        "submodule",
    ),
}
"""What is done, and why it fails."""
MORE: dict[str, dict[str, Any]] = {
    "sleeps": {"agent": "sleeper"},
    "claims": {"verify": ["grep right claims.txt"]},
    "many": {"paths": ["many.txt", "m/"]},
    "modules": {"paths": ["modules.txt", ".gitmodules"]},
}


def left_over() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [str(path)] if FOREVER.encode() in path.read_bytes() else []
        except OSError:
            continue  # it ended meanwhile
    return found
