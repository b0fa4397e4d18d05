"""What could be chosen: the search-space reading of a space function.

`D` is the number of code columns.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import random
import traceback
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choice import Choice, members
from archipel.choice_tree import ChoiceTree
from archipel.choose import ChildReader, Choose, Place, Recorder
from archipel.errors import ArchipelError, ArchitectureError, SpaceError, did_you_mean

__all__ = ["Choice", "Choose", "Space", "SpaceFunction", "count_text"]

SpaceFunction = Callable[..., nn.Module]
"""`f(choose, **options) -> nn.Module`."""


class Space:
    """A network written once, with choices left open.

    Args:
        function: called as `function(choose, **options)`; returns the module. Run once here (on the meta device
            where it can be) to learn the choices.
        options: the function's own keyword arguments (`width=0.5`, `classes=10`).

    Raises:
        SpaceError: the function raised, returned no module, or asked for choices that contradict each other.

    >>> from archipel.spaces import instanas
    >>> space = Space(instanas, macro="cifar", classes=10)
    >>> space
    Space(instanas: 17 choices, 85 code bits, 3.1e+25 architectures)
    """

    def __init__(self, function: SpaceFunction, **options: Any) -> None:
        self.function = function
        self.options = options
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self._check_options()
        tree, recorder = self._described()
        self.choices: tuple[Choice, ...] = tuple(recorder.choices.values())
        """Parents before what they open."""
        self.places: tuple[tuple[str, str], ...] = tuple(_places(tree))
        """(module path in the child network, choice name), one a place; `value` choices have none."""
        self._by_name = recorder.choices
        self._tree = ChoiceTree(self.choices)
        ends = [0]
        for choice in self.choices:
            ends.append(ends[-1] + len(choice.options))
        self.width: int = ends[-1]
        self.slices: dict[str, slice] = {
            choice.name: slice(start, end) for choice, start, end in zip(self.choices, ends, ends[1:])
        }

    def __repr__(self) -> str:
        count = count_text(self.size, digits=2)
        return f"Space({self.name}: {len(self.choices)} choices, {self.width} code bits, {count} architectures)"

    def __deepcopy__(self, memo: dict[int, Any]) -> Space:
        return self  # never changes: copies of a meta-graph share it

    def read(self, choose: Choose, *, device: str | torch.device = "cpu") -> nn.Module:
        """Run the space function with a reader of its choices.

        Raises:
            SpaceError: the function raised or returned no module.
        """
        try:
            with torch.device(device):
                module = self.function(choose, **self.options)
        except ArchipelError:
            raise
        except Exception as error:
            said = (str(error).splitlines() or [""])[0]
            mend = "; an open value goes to a layer of archipel.nn.elastic" if "Elastic" in said else ""
            raise SpaceError(
                f"space '{self.name}' raised {type(error).__name__}: {said}{_line_in(self.function, error)}{mend}"
            ) from error
        if not isinstance(module, nn.Module):
            raise SpaceError(f"space '{self.name}' returned {type(module).__name__}; return the network, an nn.Module")
        return module

    def completed(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options, and the function's own defaults of those that are not among them."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        return {p.name: p.default for p in parameters if p.default is not p.empty} | dict(options)

    def _check_options(self) -> None:
        if not callable(self.function) or isinstance(self.function, nn.Module):
            kind = type(self.function).__name__
            raise SpaceError(f"a space is a function of `choose` that returns a network, not {kind}; pass the function")
        parameters = inspect.signature(self.function).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        known = list(parameters)[1:]
        for option in self.options:
            if option not in known:
                raise SpaceError(
                    f"space '{self.name}' has no option '{option}' (options: {', '.join(known) or 'none'})"
                    f"{did_you_mean(option, known)}"
                )

    def _described(self) -> tuple[nn.Module, Recorder]:
        recorder = Recorder()
        try:
            tree = self.read(recorder, device="meta")
        except SpaceError as error:
            if error.__cause__ is None:
                raise
            # A function that computes with numbers of tensors while it builds cannot do so on the meta device.
            recorder = Recorder()
            tree = self.read(recorder)
        recorder.check()
        return tree, recorder

    # ---- building ---------------------------------------------------------------------------------------------

    def build(self, architecture: Architecture | Mapping[str, Any]) -> nn.Module:
        """The network of one architecture: a plain module, freshly initialised, nothing of the search in it.

        Raises:
            ArchitectureError: the architecture does not fit the space.
        """
        return self.read(ChildReader(self.canonical(architecture)))

    # ---- counting, ranking, sampling --------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many different canonical architectures there are, exactly."""
        return self._tree.size

    @functools.cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that two spaces share only if they have the same choices and options."""
        text = json.dumps(
            [
                [c.name, c.kind, list(c.options), c.empty, c.mean, c.k, c.parent, sorted(map(str, c.when))]
                for c in self.choices
            ]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def unrank(self, index: int) -> Architecture:
        """The architecture at `index` of `size`, in a fixed order.

        Raises:
            ArchitectureError: the index is outside 0..size-1.
        """
        if not 0 <= index < self.size:
            raise ArchitectureError(f"architecture {index} is asked of a space of {self.size}; count from 0")
        return self._ordered(self._tree.unrank(index))

    def rank(self, architecture: Architecture) -> int:
        """Inverse of `unrank`."""
        return self._tree.rank(self.canonical(architecture))

    def sample(self, rng: random.Random) -> Architecture:
        """An architecture drawn uniformly from all of them."""
        return self.unrank(rng.randrange(self.size))

    def __iter__(self) -> Iterator[Architecture]:
        """Every architecture, in rank order."""
        return map(self.unrank, range(self.size))

    # ---- checking and canonical form --------------------------------------------------------------------------

    def active(self, assignment: Mapping[str, Any]) -> Iterator[Choice]:
        """The choices that are active under an assignment, parents before what they open."""
        return self._tree.active(assignment)

    def canonical(self, assignment: Architecture | Mapping[str, Any]) -> Architecture:
        """The one spelling of an architecture: inactive choices dropped, subsets in option order, an empty
        subset with a default written as that default, choices in the space's order.

        Raises:
            ArchitectureError: a choice is missing, unknown, or set to what is none of its options.
        """
        loose = dict(assignment)
        for name in loose:
            if name not in self._by_name:
                raise ArchitectureError(
                    f"space '{self.name}' has no choice '{name}'{did_you_mean(name, self._by_name)}"
                )
        values = {}
        for choice in self.active(loose):
            if choice.name not in loose:
                raise ArchitectureError(
                    f"choice '{choice.name}' of space '{self.name}' is not set; "
                    f"options: {', '.join(map(str, choice.options))}"
                )
            values[choice.name] = loose[choice.name] = choice.canonical(loose[choice.name])
        return self._ordered(values)

    def _ordered(self, values: Mapping[str, Any]) -> Architecture:
        return Architecture({c.name: values[c.name] for c in self.choices if c.name in values})

    # ---- moving about -----------------------------------------------------------------------------------------

    def neighbours(self, architecture: Architecture, rng: random.Random | None = None) -> list[Architecture]:
        """Every architecture one decision away: another option, one member more, fewer or exchanged.

        What a new option opens is drawn with `rng`, or takes its first architecture without one.
        """
        architecture = self.canonical(architecture)
        near: dict[Architecture, None] = {}  # a set that keeps its order
        for choice in self.active(architecture):
            for value in choice.alternatives(architecture[choice.name]):
                near[self._completed({**architecture, choice.name: value}, rng)] = None
        return list(near)

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Another architecture: one active choice, drawn uniformly of those with an alternative, moved one step.

        Raises:
            ArchitectureError: the space has one architecture only.
        """
        architecture = self.canonical(architecture)
        movable = [choice for choice in self.active(architecture) if choice.has_alternatives]
        if not movable:
            raise ArchitectureError(f"space '{self.name}' has no other architecture to mutate to")
        choice = rng.choice(movable)
        value = rng.choice(list(choice.alternatives(architecture[choice.name])))
        return self._completed({**architecture, choice.name: value}, rng)

    def crossover(self, first: Architecture, second: Architecture, rng: random.Random) -> Architecture:
        """Each active choice from either parent with equal chance; what neither has is drawn uniformly."""
        first, second = self.canonical(first), self.canonical(second)
        child: dict[str, Any] = {}
        for choice in self.active(child):  # grows as the loop sets values
            parents = [p for p in (first, second) if choice.name in p]
            child |= {choice.name: rng.choice(parents)[choice.name]} if parents else {}
            if not parents:
                child[choice.name] = self._tree.drawn(choice, rng)
        return self.canonical(child)

    def _completed(self, assignment: Mapping[str, Any], rng: random.Random | None) -> Architecture:
        """Of canonical values those that are active, and drawn or first ones where some are missing."""
        values, kept = dict(assignment), {}
        for choice in self.active(values):  # grows as the loop sets values
            if choice.name not in values:
                values[choice.name] = self._tree.drawn(choice, rng) if rng else self._tree.first(choice)
            kept[choice.name] = values[choice.name]
        return self._ordered(kept)

    # ---- codes ------------------------------------------------------------------------------------------------

    def encode(self, architecture: Architecture) -> Tensor:
        """One bit an option: set where it is chosen. Inactive choices are all zero.

        Returns:
            `[D]`, bool; `slices` says which columns belong to which choice.
        """
        bits = [False] * self.width
        for name, value in self.canonical(architecture).items():
            choice, start = self._by_name[name], self.slices[name].start
            for option in members(value):
                bits[start + choice.options.index(option)] = True
        return torch.tensor(bits, dtype=torch.bool)

    def decode(self, code: Tensor) -> Architecture:
        """Inverse of `encode`; bits of inactive choices are ignored.

        Raises:
            ArchitectureError: the shape is not `[D]`, or an active choice has too few or too many bits.
        """
        if code.shape != (self.width,):
            raise ArchitectureError(f"a code of space '{self.name}' has shape [{self.width}], not {list(code.shape)}")
        bits = code.tolist()
        values: dict[str, Any] = {}
        for choice in self.choices:
            chosen = tuple(o for o, bit in zip(choice.options, bits[self.slices[choice.name]]) if bit)
            if choice.takes_several:
                values[choice.name] = chosen
            elif chosen:  # none is fine where the choice is inactive, and `canonical` says so where it is not
                values[choice.name] = chosen[0] if len(chosen) == 1 else list(chosen)
        return self.canonical(values)

    def complete(self, codes: Tensor) -> Tensor:
        """Canonical codes of many loose ones: `encode(decode(code))` row by row, without leaving tensors.

        Args:
            codes: `[B, D]`, bool.

        Raises:
            ArchitectureError: in some row an active choice has too few or too many bits.
        """
        if codes.dim() != 2 or codes.shape[1] != self.width:
            raise ArchitectureError(
                f"codes of space '{self.name}' have shape [B, {self.width}], not {list(codes.shape)}"
            )
        if codes.dtype != torch.bool and bool(((codes != 0) & (codes != 1)).any()):
            raise ArchitectureError(f"codes of space '{self.name}' are 0 or 1; round or sample probabilities first")
        codes = codes.bool().clone()
        for choice in self.choices:
            own = codes[:, self.slices[choice.name]]  # a view: what follows writes into `codes`
            if choice.parent is not None:
                parent = self._by_name[choice.parent]
                columns = [i for i, option in enumerate(parent.options) if option in choice.when]
                active = codes[:, self.slices[parent.name]][:, columns].any(1)
                own &= active[:, None]
            else:
                active = codes.new_ones(len(codes))
            if choice.empty in choice.options:
                own[:, choice.options.index(choice.empty)] |= active & ~own.any(1)
            count = own.sum(1)
            if choice.kind == "subset":
                wrong = active & (count == 0) & (not choice.allows_empty)
            else:
                wrong = active & (count != choice.k)
            if wrong.any():
                row = int(wrong.nonzero()[0])
                raise ArchitectureError(
                    f"row {row} sets {int(count[row])} options of {choice.kind} choice '{choice.name}'; "
                    f"set {'at least one' if choice.kind == 'subset' else choice.k}"
                )
        return codes


def count_text(count: int, *, digits: int = 3) -> str:
    """A number of architectures to read: whole below a million, else so many digits and a power of ten."""
    return f"{count:,}" if count < 10**6 else f"{Decimal(count):.{digits}g}"  # a float ends at 10^308


def _line_in(function: SpaceFunction, error: BaseException) -> str:
    """` (my_space.py:12)`: where in the user's own file it went wrong, if it was there."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if code and f.filename == code.co_filename]
    return f" ({Path(code.co_filename).name}:{lines[-1]})" if code and lines else ""


def _places(module: nn.Module, path: str = "") -> Iterator[tuple[str, str]]:
    """Walk the recorded tree with the paths that modules have in a child network."""
    if isinstance(module, Place):
        yield path, module.choice.name
        for option, child in module.options.items():
            inner = path if module.choice.kind == "op" else f"{path}.{option}".lstrip(".")
            yield from _places(child, inner)
        return
    for name, child in module.named_children():
        yield from _places(child, f"{path}.{name}".lstrip("."))
