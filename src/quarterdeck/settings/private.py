"""Files in a deck's home that only its operator reads, and that a command writes: whole or not at all.

Rules
- A reader sees the old file or the new one, also after a crash. Nobody but its owner may ever read it.
"""

import json
import os
import secrets
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.settings.files import read_text

T = TypeVar("T")


def read_private(file: Path, shape: TypeAdapter[T], by: str) -> T | None:
    """What the file holds; None where there is none. `by`: the command that writes it. Raises BadConfiguration."""
    try:
        return shape.validate_python(json.loads(read_text(file)), strict=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError, ValidationError) as error:
        raise BadConfiguration(
            f"{file} cannot be read", why=f"it is not what `{by}` writes", fix=f"remove {file}"
        ) from error


def replace_private(file: Path, text: str) -> None:
    """Put `text` in the place of the file; its directory is made where it is missing. Raises BadConfiguration."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise BadConfiguration(
            f"{file} cannot be written", why=error.strerror or str(error), fix="make it writable for you"
        ) from error
