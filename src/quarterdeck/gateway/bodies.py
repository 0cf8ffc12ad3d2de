"""What can stand in the body of a request, in any format. Pure.

Rules
- The values are read, never the bytes: JSON can write every letter in another way.
- No recursion: a body may be nested deeper than the interpreter's stack is.
- A number is read as leniently as a provider might: as text, with a point. What cannot be read bounds nothing.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

_REFERRING: Final = frozenset({"file_id", "file_url", "image_url", "video_url", "audio_url", "fileUri", "file_uri"})
_KEPT: Final = frozenset({"previous_response_id", "conversation", "prompt", "cachedContent", "cached_content"})
"""Fields that stand for what the provider keeps."""
_HOLDING: Final = (dict, list)
"""What holds values. A name for it, as `dict | list` is made anew each time: half of what it takes to look through."""
_OFFERING: Final = ("additional_tools", "tool_search_output")
"""Items that offer tools: what their schemas call things refers to nothing."""


def mapping(found: Any) -> Mapping[str, Any]:
    """The object; an empty one for anything else."""
    return found if isinstance(found, dict) else {}


def listed(found: Any) -> list[Any]:
    """The list; some providers take one thing in the place of a list of one."""
    return found if isinstance(found, list) else [] if found is None else [found]


def objects(found: Any) -> list[Mapping[str, Any]]:
    """The objects of a list, or the one object in its place."""
    if isinstance(found, list):
        return [one for one in found if isinstance(one, dict)]
    return [found] if isinstance(found, dict) else []


def number(found: Any) -> int | None:
    """A number above zero, rounded up; None where it is none."""
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        read = found if isinstance(found, int) else math.ceil(float(found))
    except (ValueError, OverflowError):
        return None
    return read if read > 0 else None


def largest(found: Iterable[Any]) -> int | None:
    """The largest of the numbers that are given; None where none is, or one cannot be read."""
    read = [number(value) for value in found if value is not None]
    known = [value for value in read if value is not None]
    return max(known) if known and len(known) == len(read) else None


def refers(body: Mapping[str, Any]) -> bool:
    """Whether something in it stands for what lies elsewhere: an earlier answer that the provider keeps, a file or a
    picture behind a reference. What lies in it as `data:` does not."""
    if any(body[key] for key in _KEPT.intersection(body)):
        return True
    if any(_is_reference(item) for item in objects(body.get("input"))):
        return True
    spoken = [value for key, value in body.items() if key != "tools" and isinstance(value, dict | list)]
    return any(_points(found) for found in _objects(spoken, without_tools=True))


def kept_an_hour(body: Mapping[str, Any]) -> bool:
    """Whether a part of it may be written to a cache that is kept for longer than the five minutes."""
    controls = (found.get("cache_control") for found in _objects([body]))
    return any(mapping(control).get("ttl") not in (None, "5m") for control in controls)


def _objects(roots: list[Any], *, without_tools: bool = False) -> Iterator[dict[str, Any]]:
    """All objects in it."""
    left = list(roots)
    while left:
        found = left.pop()
        if isinstance(found, list):
            left += [value for value in found if isinstance(value, _HOLDING)]
        elif isinstance(found, dict):
            yield found
            offers = without_tools and found.get("type") in _OFFERING
            left += [
                value for key, value in found.items() if isinstance(value, _HOLDING) and not (offers and key == "tools")
            ]


def _is_reference(found: Mapping[str, Any]) -> bool:
    """Whether an item of a Responses request names one which the provider keeps; its type may be left out."""
    bare = found.get("type") is None and "role" not in found and "id" in found
    return bare or found.get("type") == "item_reference"


def _points(found: Mapping[str, Any]) -> bool:
    if found.get("type") == "url":
        return True
    return not _REFERRING.isdisjoint(found) and any(not _inline(found[key]) for key in _REFERRING.intersection(found))


def _inline(value: Any) -> bool:
    url = mapping(value).get("url") if isinstance(value, dict) else value
    return not url or (isinstance(url, str) and url.startswith("data:"))
