"""Reading a value of one of many kinds as that kind, so that the other kinds need not be ready.

Rules
- The kind stands first, as it is written. Where it does not, or is none of the known ones, the union of all decides.
"""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter

T = TypeVar("T", bound=BaseModel)

_KIND: Final = re.compile(rb'\{"kind":"([a-z._]+)"')


class Kinds(Generic[T]):
    """The classes directly below `base`, each with a literal `kind`."""

    def __init__(self, base: type[T], union: Callable[[], TypeAdapter[Any]]) -> None:
        """`union`: of all of them; making it makes the validator of each."""
        self._base = base
        self._union = union

    def read(self, data: bytes | str) -> T:
        """The value in `data`, JSON. Raises pydantic.ValidationError."""
        raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        begun = _KIND.match(raw)
        kind = self._known.get(begun[1]) if begun is not None else None
        if kind is not None:
            return kind.model_validate_json(raw)
        value: T = self._all.validate_json(raw)
        return value

    @cached_property
    def _known(self) -> dict[bytes, type[T]]:
        return {kind.model_fields["kind"].default.encode(): kind for kind in self._base.__subclasses__()}

    @cached_property
    def _all(self) -> TypeAdapter[Any]:
        return self._union()
