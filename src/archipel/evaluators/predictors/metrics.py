"""How well predictions rank. Larger is better in both; `N` architectures.

τ weighs all pairs alike, so it can be high while the top is wrong: N@K and P@K stand beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archipel.cost.fidelity import kendall_tau
from archipel.errors import OptionError

__all__ = ["kendall_tau", "n_at_k", "p_at_k", "ranking", "sparse_kendall_tau", "spearman"]


def sparse_kendall_tau(predicted: Tensor, true: Tensor, *, step: float = 0.1) -> float:
    """Kendall's τ_b with the true scores rounded to multiples of `step`, below which differences are chance.

    Yu et al., How to train your super-net, arXiv 2003.04276: 0.1 points of accuracy.
    """
    return kendall_tau(predicted.numpy(), (true / step).round().numpy())


def spearman(predicted: Tensor, true: Tensor) -> float:
    """Spearman's ρ; NaN where one of them is constant."""
    from scipy.stats import spearmanr

    if bool((predicted == predicted[0]).all()) or bool((true == true[0]).all()):
        return float("nan")
    return float(spearmanr(predicted.numpy(), true.numpy()).statistic)


def n_at_k(predicted: Tensor, true: Tensor, k: int) -> int:
    """N@K: the true rank, 1 for the best, of the best of those predicted to be the top K (Ning et al., ECCV 2020)."""
    best = true[_top(predicted, k)].max()
    return 1 + int((true > best).sum())


def p_at_k(predicted: Tensor, true: Tensor, share: float) -> float:
    """P@K: of those predicted to be the top `share` of all, which part truly is (Ning et al., ECCV 2020)."""
    k = max(1, round(share * len(true)))
    return len(set(_top(predicted, k).tolist()) & set(_top(true, k).tolist())) / k


def ranking(predicted: Tensor, true: Tensor) -> dict[str, float]:
    """All of them, for a table."""
    return {
        "tau": kendall_tau(predicted.numpy(), true.numpy()),
        "sparse_tau": sparse_kendall_tau(predicted, true),
        "spearman": spearman(predicted, true),
        "N@5": n_at_k(predicted, true, 5),
        "N@10": n_at_k(predicted, true, 10),
        "P@5%": p_at_k(predicted, true, 0.05),
    }


def _top(values: Tensor, k: int) -> Tensor:
    """Positions of the k largest; of equals the first."""
    if not 1 <= k <= len(values):
        raise OptionError(f"the top {k} are asked of {len(values)} architectures; give 1 to {len(values)}")
    return torch.sort(values, descending=True, stable=True).indices[:k]
