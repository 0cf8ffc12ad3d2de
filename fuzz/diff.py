"""A diff of an agent's change, on its way to the dashboard.

Rules
- Nothing is raised, and what comes out can be sent: it is JSON, and bounded.
- Its counts are those of its lines, where nothing was cut.
"""

import json
from collections.abc import Sequence

from quarterdeck.board import diffs

INSTRUMENTED = ("quarterdeck.board.diffs",)
WORDS = (
    *(
        "diff --git ",
        "--- ",
        "+++ ",
        "@@ -1,2 +3,4 @@",
        "@@ -999999999 +1 @@",
        "rename from ",
        "rename to ",
        "/dev/null",
    ),
    *(
        "new file mode 100644",
        "deleted file mode",
        "Binary files ",
        "GIT binary patch",
        '"a/',
        '"b/',
        "\\303\\244",
        "\\",
    ),
    *("\\ No newline at end of file", "\r", "\x00", "\u2028", "a/", "b/"),
)


def one(data: bytes) -> None:
    """Read it as the mirror hands it over."""
    text = data.decode("utf-8", "replace")
    diff = diffs.parsed(text, "base", "commit")
    sent = json.loads(diff.model_dump_json())
    assert len(sent["files"]) <= text.count("diff --git ")
    kept = 0
    for file in diff.files:
        lines = [line for hunk in file.hunks for line in hunk.lines]
        kept += len(lines)
        assert all(len(line.text) <= diffs.LINE for line in lines)
        if not file.cut:
            assert file.added == sum(line.kind == "+" for line in lines)
            assert file.removed == sum(line.kind == "-" for line in lines)
    assert kept <= diffs.MOST_LINES
    assert kept <= text.count("\n") + 1


def seeds() -> Sequence[bytes]:
    """Each form that git prints."""
    changed = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ f\n one\n-two\n+zwei\n"
    renamed = "diff --git a/x y b/z\nsimilarity index 90%\nrename from x y\nrename to z\n"
    name = '"b/\\303\\244"'
    quoted = f"diff --git {name} {name}\nnew file mode 100644\n--- /dev/null\n+++ {name}\n@@ -0,0 +1 @@\n+x\n"
    binary = "diff --git a/p b/p\ndeleted file mode 100644\nBinary files a/p and /dev/null differ\n"
    return [part.encode() for part in (changed, renamed, quoted, binary, changed + binary + quoted + renamed)]
