"""A space with fewer options than another one has, and the JSON file it is kept in."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from archipel.choose import Choose, Factory
from archipel.errors import SpaceError, did_you_mean
from archipel.space import Space, SpaceFunction

__all__ = ["WHAT", "Restricted", "check_kept", "load_restricted"]

WHAT = "archipel restricted space"
_FORMAT = 1


@dataclass(frozen=True)
class Restricted:
    """A space function some of whose options are not offered. Choices keep their names; one may be left with a single
    option, so that weights of the whole space still fit."""

    base: Any
    """What `resolve` takes: a name or `file.py:function`; or the content of another space's JSON file."""
    whole: SpaceFunction
    """The function that `base` names."""
    keep: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Choice → what is left of its options; choices that are not named keep all."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """How it was made; plain JSON."""

    @property
    def function(self) -> SpaceFunction:
        """The space function, with the name and the options of the whole one."""

        @functools.wraps(self.whole)
        def restricted(choose: Choose, **options: Any) -> nn.Module:
            return self.whole(_Narrowed(choose, self.keep), **options)

        return restricted

    def keeping(self, keep: Mapping[str, Sequence[Any]], **evidence: Any) -> Restricted:
        """The same, restricted further."""
        merged = {**self.keep, **{name: tuple(options) for name, options in keep.items()}}
        return Restricted(self.base, self.whole, merged, {**self.evidence, **evidence})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        kept = {name: list(options) for name, options in self.keep.items()}
        return {"what": WHAT, "format": _FORMAT, "base": self.base, "keep": kept, "evidence": dict(self.evidence)}

    @classmethod
    def from_json(cls, data: Any, find: Callable[[Any], SpaceFunction]) -> Restricted:
        """Inverse of `to_json`.

        Args:
            find: the function of a `base`.

        Raises:
            SpaceError: it is none of those, or damaged.
        """
        if not isinstance(data, dict) or data.get("what") != WHAT:
            raise SpaceError("it is no restricted space; 'archipel space drop' makes one")
        if data.get("format") != _FORMAT:
            raise SpaceError(f"it has the format {data.get('format')!r}; this version reads {_FORMAT}")
        keep, evidence = data.get("keep"), data.get("evidence")
        if not isinstance(keep, dict) or not isinstance(evidence, dict) or "base" not in data:
            raise SpaceError("it lacks its base, what it keeps, or its evidence")
        for name, options in keep.items():
            if not isinstance(options, list) or not options:
                raise SpaceError(f"of choice '{name}' it keeps {options!r}; a list of options belongs there")
        kept = {name: tuple(options) for name, options in keep.items()}
        return cls(data["base"], find(data["base"]), kept, evidence)

    def save(self, path: Path) -> None:
        """Write it as one JSON file."""
        path.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check_kept(space: Space, keep: Mapping[str, Sequence[Any]]) -> None:
    """Whether a space can be restricted so.

    Raises:
        SpaceError: no such choice or option, nothing left of one, or a choice that cannot have fewer options.
    """
    choices = {choice.name: choice for choice in space.choices}
    for name, options in keep.items():
        if name not in choices:
            raise SpaceError(f"space '{space.name}' has no choice '{name}'{did_you_mean(name, choices)}")
        choice = choices[name]
        for option in options:
            if option not in choice.options:
                known = ", ".join(map(str, choice.options))
                raise SpaceError(
                    f"choice '{name}' has no option '{option}' ({known}){did_you_mean(option, choice.options)}"
                )
        if not options:
            raise SpaceError(f"nothing would be left of choice '{name}'; leave one of its options")
        if choice.kind == "inputs" and len(options) < len(choice.options):
            raise SpaceError(f"choice '{name}' takes some of all tensors before it; its options cannot be dropped")
        if choice.empty in choice.options and choice.empty not in options:
            raise SpaceError(f"choice '{name}' runs '{choice.empty}' when it is empty; leave that option")


def load_restricted(path: str, find: Callable[[Any], SpaceFunction]) -> Restricted | None:
    """A restricted space from its JSON file; None where that is missing, no JSON, or of another kind.

    Raises:
        SpaceError: it is damaged.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or data.get("what") != WHAT:
        return None
    try:
        return Restricted.from_json(data, find)
    except SpaceError as error:
        raise SpaceError(f"restricted space '{path}': {error}") from error


class _Narrowed(Choose):
    """Asks another reader, offering it less."""

    def __init__(self, inner: Choose, keep: Mapping[str, tuple[Any, ...]]) -> None:
        self._inner = inner
        self._keep = keep

    def _offered(self, name: str, options: Mapping[str, Factory]) -> dict[str, Factory]:
        kept = self._keep.get(name, tuple(options))
        return {option: factory for option, factory in options.items() if option in kept}

    def op(self, name: str, options: Mapping[str, Factory]) -> nn.Module:
        return self._inner.op(name, self._offered(name, options))

    def subset(
        self, name: str, options: Mapping[str, Factory], *, empty: str | Factory | None = None, mean: bool = False
    ) -> nn.Module:
        return self._inner.subset(name, self._offered(name, options), empty=empty, mean=mean)

    def inputs(self, name: str, edges: int | Sequence[Factory], *, k: int = 1) -> nn.Module:
        return self._inner.inputs(name, edges, k=k)

    def value(self, name: str, options: Sequence[int | float]) -> Any:
        kept = self._keep.get(name, tuple(options))
        return self._inner.value(name, [option for option in options if option in kept])
