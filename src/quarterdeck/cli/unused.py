"""What of a work tree a run does not use.

Rules
- A run starts from a commit and reads its configuration there. What is only in the work tree is named, once, so that
  nobody wonders why it had no effect.
- It is a remark: where git cannot tell, that is said, and nothing else stops.
"""

from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import BadRepository
from quarterdeck.settings import DECK_FILE
from quarterdeck.workplace.repository import clean, examine, uncommitted

FOLDER: Final = ".quarterdeck"
_NAMED: Final = 3
"""Files that are named one by one."""


async def left_out(repository: Path, *more: str) -> tuple[str, ...]:
    """Remarks about files of the configuration that are not committed as they are. `more`: files beside ours."""
    try:
        place, common_directory, _ = await examine(repository)
        files = () if place == common_directory else await uncommitted(place, FOLDER, *more)
    except BadRepository:  # what was wrong with the order is told, and is more than a remark
        return ()
    if not files:
        return ()
    others = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    said = (
        "is not committed as it is, and not used" if len(files) == 1 else "are not committed as they are, and not used"
    )
    added = " ".join(dict.fromkeys(file if file in more else FOLDER for file in files))
    return (f"note: {', '.join(files[:_NAMED])}{others} {said}: git add {added} && git commit",)


async def unused(repository: Path, *, from_file: bool) -> tuple[str, ...]:
    """Remarks about the whole work tree of a run that was ordered. from_file: its deck.toml was read at the base."""
    place, common_directory, _ = await examine(repository)
    if place == common_directory:
        return ()
    found = []
    if not from_file and (place / FOLDER / DECK_FILE).exists():
        found.append(f"note: {FOLDER}/{DECK_FILE} is not in the base commit and is not used; commit it")
    try:
        if not await clean(place):
            found.append(f"note: {place} has uncommitted changes; they are not part of the run")
    except BadRepository as error:  # it concerns the work tree, and the run does not use it
        found.append(f"note: {error}")
    return tuple(found)
