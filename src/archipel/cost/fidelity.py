"""How close predictions of latency are to what the device measures, on networks they have never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["Fidelity", "kendall_tau", "score"]


@dataclass(frozen=True)
class Fidelity:
    """Predicted against measured latency of `n` held-out networks.

    A machine's own speed drifts (neighbours of a virtual machine, clock rates, heat), by 10 to 30 % between minutes
    on one we used. So errors and coverage are of the predictions times `speed`, which networks other than the judged
    ones tell; what they are without it stands beside them.
    """

    n: int
    mape: float
    """Mean |predicted − measured| / measured, per cent."""
    median_error: float
    """Median of the same, per cent."""
    worst_error: float
    """Largest of the same, per cent."""
    tau: float
    """Kendall's τ_b between predicted and measured; NaN where one of them is constant."""
    coverage: float
    """Share of the measured latencies inside their predicted intervals, per cent."""
    nominal: float
    """The share there should be, per cent."""
    pairs: tuple[tuple[float, float], ...]
    """(predicted, measured), ms, as they are."""
    drawn: str = "uniform"
    """How the networks were drawn: `uniform`, `spread`, or `half uniform, half spread`."""
    speed: float = 1.0
    """Latency of the table's reference networks now, over then: above 1 the machine has become slower."""
    mape_uncorrected: float = float("nan")
    """`mape` of the predictions as they stand, the machine's drift included."""
    coverage_uncorrected: float = float("nan")
    """`coverage` of the intervals as they stand."""

    chance: float = float("nan")
    """Mean error of the measured figures themselves, per cent (`Timing.chance`): what even a perfect table would show
    as `mape`."""

    def sentence(self) -> str:
        """The figures in words, for a person."""
        told = (
            f"{self.n} held-out networks ({self.drawn}): mean error {self.mape:.1f} % (median "
            f"{self.median_error:.1f}, worst {self.worst_error:.1f}), Kendall's τ {self.tau:.2f}, "
            f"{self.coverage:.0f} % inside their {self.nominal:.0f} % interval"
        )
        if self.chance == self.chance:
            told += f"; the measurements themselves are off by {self.chance:.1f} %"
        if self.speed == 1:
            return told
        return (
            f"{told}. All at the machine's present speed: known networks timed beside them take {self.speed:.2f} × "
            f"what they took then (mean error without that correction {self.mape_uncorrected:.1f} %, inside "
            f"{self.coverage_uncorrected:.0f} %)"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what is no number (τ of a constant) becomes null."""
        plain = {key: None if value != value else value for key, value in asdict(self).items()}
        return {**plain, "pairs": [list(pair) for pair in self.pairs]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fidelity:
        fields: dict[str, Any] = {key: float("nan") if value is None else value for key, value in data.items()}
        fields["pairs"] = tuple((float(predicted), float(measured)) for predicted, measured in data["pairs"])
        return cls(**fields)


def score(
    predicted: Sequence[float],
    measured: Sequence[float],
    *,
    margin: float,
    nominal: float,
    drawn: str = "uniform",
    speed: float = 1.0,
    chance: float = float("nan"),
) -> Fidelity:
    """Judge predictions.

    Args:
        predicted: ms, one a network.
        measured: ms, in the same order.
        margin: relative half-width of the predicted intervals.
        nominal: share of networks that should be inside, 0 to 1.
        speed: time the machine takes now for what took 1 when the table was measured.
        chance: mean relative error of the measured figures by chance.
    """
    p, m = np.asarray(predicted, dtype=float), np.asarray(measured, dtype=float)
    errors = 100 * np.abs(p * speed / m - 1)
    return Fidelity(
        n=len(p),
        mape=float(errors.mean()),
        median_error=float(np.median(errors)),
        worst_error=float(errors.max()),
        tau=kendall_tau(p, m),
        coverage=float(100 * np.mean(np.abs(m / speed / p - 1) <= margin)),
        nominal=100 * nominal,
        pairs=tuple((float(a), float(b)) for a, b in zip(p, m)),
        drawn=drawn,
        speed=speed,
        mape_uncorrected=float((100 * np.abs(p / m - 1)).mean()),
        coverage_uncorrected=float(100 * np.mean(np.abs(m / p - 1) <= margin)),
        chance=100 * chance,
    )


def kendall_tau(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Kendall's τ_b: (concordant − discordant) pairs over those untied in each, 1 for equal order.

    NaN when all of `x` or all of `y` are equal.
    """
    from scipy.stats import kendalltau

    return float(kendalltau(np.asarray(x, dtype=float), np.asarray(y, dtype=float)).statistic)
