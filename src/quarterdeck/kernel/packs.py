"""Objects of a repository on their way from one worker to another."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pack:
    """Everything of one commit that some others do not have."""

    commit: str
    onto: tuple[str, ...]
    """What whoever takes it must have, with its history."""
    data: bytes
    """As `git pack-objects --thin` writes it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a workspace held."""

    base: str
    """The commit that it began with."""
    commit: str
    """One commit on `base`; `base` itself = nothing differed from it; empty = it could not be kept."""
    tree: str
    data: bytes
    """Everything that `base` does not have, as an export writes it; empty = nothing."""
