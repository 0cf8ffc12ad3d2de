"""Everything of a run as one file, over HTTP.

Rules
- It is written to a directory of its own, packed, sent and removed, also where its reader goes away. One at a time.
"""

import asyncio
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from quarterdeck.doors.api.context import Deck, OneAtATime, RunId

router: Final = APIRouter(prefix="/runs", tags=["runs"])

KIND: Final = "application/zip"
_ZIP: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A zip file.", "content": {KIND: {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/{run}/export", response_class=FileResponse, responses=_ZIP)
async def export(run: RunId, deck: Deck, one: OneAtATime) -> FileResponse:
    """Plan, report, result, events with what they name, and changes: what `quarterdeck export` writes, packed."""
    await deck.views.run(run)
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="qd-export-"))
    try:
        async with one:
            files = await deck.export(run, folder / run)
            packed = folder / f"{run}.zip"
            await asyncio.to_thread(_pack, packed, folder, files)
            await asyncio.to_thread(shutil.rmtree, folder / run, True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(
        packed, media_type=KIND, filename=packed.name, background=BackgroundTask(shutil.rmtree, folder, True)
    )


def _pack(packed: Path, folder: Path, files: Iterable[Path]) -> None:
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for file in files:
            out.write(file, file.relative_to(folder))
