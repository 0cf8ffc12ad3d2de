"""How objects come into a repository of ours, and from it into another one: the words that every fetch begins with."""

import shlex
from typing import Final

from quarterdeck.workplace.git import options

FETCH: Final = (
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--no-prune",
)
SETTINGS: Final = ("fetch.writeCommitGraph=false", "fetch.unpackLimit=1")
TIMEOUT: Final = 900.0
READABLE: Final = 0o022
"""Sandboxes may run under another user id: what the mirror creates is readable."""


def upload_pack() -> str:
    """The program on the other side of a fetch on this machine."""
    # Given on the command line because git hands no other setting to the process on the other side.
    return shlex.join(("git", *options("uploadpack.allowAnySHA1InWant=true"), "upload-pack"))
