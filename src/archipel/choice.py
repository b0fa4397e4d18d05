"""One open place of a network: what it can be set to, and what is one step away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from archipel.errors import ArchitectureError, did_you_mean

__all__ = ["Choice", "Kind", "members"]

Kind: TypeAlias = Literal["op", "subset", "inputs", "value"]


@dataclass(frozen=True)
class Choice:
    """One open place of a network.

    `parent` and `when` say when it is active: always, or while `parent` is set to (for `op` and `value`) or
    holds (for `subset` and `inputs`) one of `when`.
    """

    name: str
    kind: Kind
    options: tuple[Any, ...]
    """Option names (`op`, `subset`), input positions (`inputs`) or numbers (`value`)."""
    empty: str | None = None
    """`subset`: what an empty selection runs: an option's name, another module's name, or None (not allowed)."""
    mean: bool = False
    """`subset`: outputs are averaged instead of summed."""
    k: int = 1
    """`inputs`: how many are taken."""
    parent: str | None = None
    when: frozenset[Any] = frozenset()

    @property
    def takes_several(self) -> bool:
        """Whether it is set to a tuple of options rather than to one."""
        return self.kind in ("subset", "inputs")

    @property
    def allows_empty(self) -> bool:
        """Whether the empty selection is an architecture of its own (not a spelling of a default option)."""
        return self.empty is not None and self.empty not in self.options

    @property
    def has_alternatives(self) -> bool:
        """Whether there is another value one step away, from whichever it is set to."""
        if self.kind == "subset":
            return len(self.options) > 1 or self.allows_empty
        return len(self.options) > (self.k if self.kind == "inputs" else 1)

    def canonical(self, value: Any) -> Any:
        """The one spelling of what it is set to: members in option order, an empty selection as its default.

        Raises:
            ArchitectureError: it is no option, or too few or too many.
        """
        chosen = members(value)
        for option in chosen:
            if option not in self.options:
                raise ArchitectureError(
                    f"choice '{self.name}' has no option {option!r} (options: {_listed(self.options)})"
                    f"{did_you_mean(option, self.options)}"
                )
        if not self.takes_several:
            if len(chosen) != 1:
                raise ArchitectureError(f"choice '{self.name}' takes one option, not {len(chosen)}: {value!r}")
            return self.options[self.options.index(chosen[0])]
        if isinstance(value, str) or len(set(chosen)) < len(chosen):
            raise ArchitectureError(f"choice '{self.name}' takes a list of different options, not {value!r}")
        if self.kind == "inputs" and len(chosen) != self.k:
            raise ArchitectureError(f"choice '{self.name}' takes {self.k} positions, not {len(chosen)}: {value!r}")
        if not chosen and self.kind == "subset":
            if self.empty is None:
                raise ArchitectureError(f"choice '{self.name}' is empty; give at least one of {_listed(self.options)}")
            return () if self.allows_empty else (self.empty,)
        return tuple(option for option in self.options if option in chosen)

    def alternatives(self, value: Any) -> Iterator[Any]:
        """Every other canonical value one step away: another option; a member more or fewer (`subset`); a
        position exchanged (`inputs`). If `b` is an alternative of `a`, `a` is one of `b`.
        """
        chosen = members(value)
        others = [option for option in self.options if option not in chosen]
        if self.kind == "inputs":
            for old in chosen:
                for new in others:
                    yield tuple(sorted({*chosen, new} - {old}))
        elif self.kind == "subset":
            for option in self.options:
                flipped = tuple(o for o in self.options if (o in chosen) != (o == option))
                if flipped or self.allows_empty:
                    yield flipped
        else:
            yield from others


def members(value: Any) -> tuple[Any, ...]:
    """The options in a value: itself, or its members."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _listed(options: Sequence[Any]) -> str:
    return ", ".join(str(option) for option in options)
