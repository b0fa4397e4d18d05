"""A device whose time is arithmetic: modules that say what they take, and the clock they move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from archipel.choose import Choose
from archipel.nn.blocks import Zero, residual


class Ticker:
    """A clock that moves only when a `Takes` runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.noise: Callable[[], float] = lambda: 1.0

    def stamp(self) -> float:
        return self.now

    def settle(self) -> None:
        pass

    def milliseconds(self, start: float, end: float) -> float:
        return end - start


TICKER = Ticker()


class Takes(nn.Module):
    """y = x, in `ms` milliseconds."""

    def __init__(self, ms: float) -> None:
        super().__init__()
        self.ms = ms
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        TICKER.now += self.ms * TICKER.noise()
        return x

    def extra_repr(self) -> str:
        return f"{self.ms}"


class Shortcut(nn.Module):
    """x + f(x), in a tenth of a millisecond beside f."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        TICKER.now += 0.1
        return x + self.body(x)


class Join(nn.Module):
    """The list of tensors that a `choose.inputs` selects from."""

    def __init__(self, pick: nn.Module) -> None:
        super().__init__()
        self.pick = pick

    def forward(self, x: Tensor) -> Tensor:
        return self.pick([x, 2 * x, 3 * x])


COSTS = {
    "top": {"plain": 2.0},
    "inner": {"p": 0.257, "q": 0.761},
    "bits": {"o0": 0.2003, "o1": 0.4019, "o2": 0.6047, "o3": 0.8101},
    "maybe": {"u": 0.4073, "v": 0.6131},
    "from": {0: 0.15007, 1: 0.30211, 2: 0.45337},
    "cut": {"s": 1.1, "t": 0.1},
    "cell": {"a": 0.31, "b": 0.97},
}
"""Milliseconds of each option; no two architectures add up to the same."""


def planted(choose: Choose, *, stem: float = 1.0) -> nn.Module:
    """Every verb with columns, nested and repeated: latency is the sum of what was chosen plus `stem` + 0.5."""

    def options(name: str) -> dict[Any, Callable[[], nn.Module]]:
        return {option: lambda ms=ms: Takes(ms) for option, ms in COSTS[name].items()}

    def deep() -> nn.Module:
        return nn.Sequential(Takes(0.5), choose.op("inner", options("inner")))

    return nn.Sequential(
        Takes(stem),
        choose.op("top", {**options("top"), "deep": deep}),
        choose.subset("bits", options("bits"), empty="o3"),
        choose.subset("maybe", options("maybe"), empty=nn.Identity),
        Join(choose.inputs("from", list(options("from").values()), k=2)),
        Shortcut(choose.op("cut", options("cut"))),
        choose.op("cell", options("cell")),
        choose.op("cell", options("cell")),
        Takes(0.5),
    )


def planted_ms(architecture: Mapping[str, Any], stem: float = 1.0) -> float:
    """What `planted` takes, by hand."""
    total = stem + 0.5 + 0.1  # the last is the shortcut's
    for name, value in architecture.items():
        for option in value if isinstance(value, tuple) else (value,):
            total += (0.5 if option == "deep" else COSTS[name][option]) * (2 if name == "cell" else 1)
    return total


def planted_layers(choose: Choose, *, layers: int = 4) -> nn.Module:
    """Value choices: every layer takes its width in tenths of a millisecond."""
    widths = [choose.value(f"w{i}", [1, 2, 4]) for i in range(layers)]
    return nn.Sequential(Takes(0.7), *(Takes(width) for width in widths))


def vanishing(choose: Choose, *, layers: int = 2) -> nn.Module:
    """Blocks that may be bypassed: then the shortcut around them is gone too."""

    def layer(i: int) -> nn.Module:
        options = {"a": lambda: Takes(1.3), "b": lambda: Takes(2.1 + i / 10), "zero": Zero}
        return residual(choose.op(f"l{i}", options))

    return nn.Sequential(Takes(0.7), *(layer(i) for i in range(layers)))


@dataclass(frozen=True)
class Abacus:
    """A backend that cannot be timed in the middle of a pass. Each call takes `CALL` ms beside its modules."""

    CALL: ClassVar[float] = 0.03
    hooks: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    threaded: ClassVar[bool] = False
    bound: ClassVar[list[str]] = []
    """Classes of the modules bound so far."""
    name: str
    threads: int

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu")

    def check(self) -> None:
        pass

    def fingerprint(self) -> dict[str, str | int]:
        return {"device": "abacus", "threads": self.threads}

    def describe(self) -> str:
        return "an abacus"

    def prepare(self, module: nn.Module) -> nn.Module:
        return module.eval()

    def bind(self, pairs: Iterable[tuple[nn.Module, Tensor]]) -> Iterator[Callable[[], object]]:
        for module, inputs in pairs:
            self.bound.append(type(module).__name__)

            def call(module: nn.Module = module, inputs: Tensor = inputs) -> object:
                TICKER.now += self.CALL * TICKER.noise()
                return module(inputs)

            yield call
