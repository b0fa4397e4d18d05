"""One immutable assignment of a space's choices."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from archipel.errors import ArchitectureError

__all__ = ["Architecture", "Value"]

Value: TypeAlias = "str | int | float | tuple[str, ...] | tuple[int, ...]"
"""What a choice can be set to: an option's name (`op`), several names (`subset`), several input positions
(`inputs`), or a number (`value`)."""


class Architecture(Mapping[str, Value]):
    """What was chosen: choice name → value. Immutable, hashable, JSON-able.

    Two architectures are equal when they assign the same values to the same choices, in whatever order. Their
    hash is the same in every process, so that even the order of a set of them repeats. An inactive conditional
    choice is absent. `Space.canonical` makes an architecture out of any loose assignment.

    >>> Architecture({"s1.l0": "e6_k5", "s1.l1": ("a", "b")})["s1.l0"]
    'e6_k5'
    """

    __slots__ = ("_items", "_key")
    _items: dict[str, Value]
    _key: str | None

    def __init__(self, assignment: Mapping[str, Any] | None = None, /, **choices: Any) -> None:
        items = {name: _frozen(name, value) for name, value in {**(assignment or {}), **choices}.items()}
        object.__setattr__(self, "_items", items)
        object.__setattr__(self, "_key", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Architecture cannot be changed (tried to set '{name}'); make another one")

    def __getitem__(self, name: str) -> Value:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return int(self.key, 16)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Architecture):
            return self._items == other._items
        return NotImplemented

    def __reduce__(self) -> tuple[type[Architecture], tuple[dict[str, Value]]]:
        return Architecture, (dict(self._items),)

    def __repr__(self) -> str:
        return f"Architecture({self._items!r})"

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits, equal for equal architectures, the same in every process."""
        key = self._key
        if key is None:
            # 1 and 1.0 are equal, so they are written the same here.
            plain = {n: int(v) if isinstance(v, float) and v.is_integer() else v for n, v in self._items.items()}
            text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
            key = hashlib.sha256(text.encode()).hexdigest()[:12]
            object.__setattr__(self, "_key", key)
        return key

    def replace(self, **choices: Any) -> Architecture:
        """Another architecture with some choices set anew (not made canonical)."""
        return Architecture({**self._items, **choices})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; tuples become lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._items.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | str) -> Architecture:
        """Inverse of `to_json`; also takes the JSON text itself.

        Raises:
            ArchitectureError: it is no JSON object of choices.
        """
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except json.JSONDecodeError as error:
                raise ArchitectureError(
                    f"an architecture is a JSON object of choices; this text is none ({error})"
                ) from error
        if not isinstance(data, Mapping):
            raise ArchitectureError(f"an architecture is a JSON object of choices, not {type(data).__name__}")
        return cls(data)


def _frozen(name: object, value: Any) -> Value:
    if not isinstance(name, str):
        raise ArchitectureError(f"choice names are strings, not {name!r}")
    if isinstance(value, bool):
        raise ArchitectureError(f"choice '{name}' is set to {value}; give an option's name or a number")
    if isinstance(value, str | int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise ArchitectureError(f"choice '{name}' is set to {value}; give a finite number")
        return value
    if isinstance(value, list | tuple):
        members = tuple(value)
        if all(isinstance(m, str) for m in members) or all(type(m) is int for m in members):
            return members
    raise ArchitectureError(
        f"choice '{name}' is set to {value!r}; give an option's name, a number, or a list of names or of positions"
    )
