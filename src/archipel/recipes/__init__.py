"""One paper a file (or folder): what it composes, and under which name users ask for it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True)
class Method:
    """One line of `archipel methods`."""

    name: str
    paper: str
    tags: tuple[str, ...]
    status: str
    """What works today, in words."""


METHODS: dict[str, Method] = {
    "instanas": Method(
        "instanas",
        "Cheng et al., InstaNAS: Instance-aware Neural Architecture Search, AAAI 2020 (arXiv 1811.10201)",
        ("instance-aware", "one-shot", "policy gradient", "latency"),
        "complete: `archipel run`",
    ),
    "proxylessnas": Method(
        "proxylessnas",
        "Cai et al., ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware, ICLR 2019 "
        "(arXiv 1812.00332)",
        ("one-shot", "binarised paths", "policy gradient", "latency"),
        "complete: `archipel search proxylessnas`; its networks: `archipel train proxyless_cpu`",
    ),
    "blockdrop": Method(
        "blockdrop",
        "Wu et al., BlockDrop: Dynamic Inference Paths in Residual Networks, CVPR 2018 (arXiv 1711.08393)",
        ("instance-aware", "layer skipping", "policy gradient", "latency"),
        "complete: `archipel search blockdrop`",
    ),
    "convnet_aig": Method(
        "convnet_aig",
        "Veit and Belongie, Convolutional Networks with Adaptive Inference Graphs, ECCV 2018 (arXiv 1711.11503)",
        ("instance-aware", "layer skipping", "straight-through Gumbel", "latency"),
        "complete: `archipel search convnet_aig`",
    ),
    "autospace": Method(
        "autospace",
        "Zhou et al., AutoSpace: Neural Architecture Search with Less Human Interference, ICCV 2021 (arXiv 2103.11833)",
        ("evolved search space", "cells", "gradient fitness"),
        "complete: `archipel evolve`, and its spaces in `--space FILE.json`",
    ),
    "gates": Method(
        "gates",
        "Ning et al., A Generic Graph-based Neural Architecture Encoding Scheme for Predictor-based NAS, ECCV 2020 "
        "(arXiv 2004.01899)",
        ("predictor", "graph", "ranking loss"),
        "complete: predictors `gates`, `gates_on_node`, `gates_ensemble` of any space",
    ),
    "neural_predictor": Method(
        "neural_predictor",
        "Wen et al., Neural Predictor for Neural Architecture Search, ECCV 2020 (arXiv 1912.00848)",
        ("predictor", "graph"),
        "complete: predictor `gcn` of any space",
    ),
    "nao_predictor": Method(
        "nao_predictor",
        "Luo et al., Neural Architecture Optimization, NeurIPS 2018 (arXiv 1808.07233)",
        ("predictor", "encoder and decoder", "latent gradient"),
        "complete: predictor `nao` of any space, and the step uphill in its codes",
    ),
    "zero_cost": Method(
        "zero_cost",
        "Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021 (arXiv 2101.08134)",
        ("predictor", "no training"),
        "complete: seven proxies, parameters and MAdds, of any space and task",
    ),
    "mobilenet_v2": Method(
        "mobilenet_v2",
        "Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018 (arXiv 1801.04381)",
        ("static reference",),
        "complete: `archipel train mobilenet_v2`, and a width sweep in every run",
    ),
    "random": Method(
        "random",
        "Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI 2019 (arXiv "
        "1902.07638)",
        ("black box", "baseline"),
        "complete: `archipel bench`, `archipel search trials`",
    ),
    "local_search": Method(
        "local_search",
        "White et al., Exploring the Loss Landscape in Neural Architecture Search, UAI 2021 (arXiv 2005.02960)",
        ("black box", "baseline"),
        "complete: `archipel bench`, `archipel search trials`",
    ),
    "regularised_evolution": Method(
        "regularised_evolution",
        "Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019 (arXiv 1802.01548)",
        ("black box", "evolution"),
        "complete: `archipel bench`, `archipel search trials`",
    ),
    "nsga2": Method(
        "nsga2",
        "Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE Transactions on Evolutionary "
        "Computation 2002",
        ("black box", "evolution", "several objectives"),
        "complete: `archipel bench`; several objectives in Python",
    ),
    "nas_rl": Method(
        "nas_rl",
        "Zoph and Le, Neural Architecture Search with Reinforcement Learning, ICLR 2017 (arXiv 1611.01578)",
        ("black box", "policy gradient", "skip connections"),
        "complete: strategy and space `nas_rl`, anchors; without growing depth and recurrent cells",
    ),
    "reinforce": Method(
        "reinforce",
        "Dong et al., NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size, TPAMI 2021 (arXiv "
        "2009.00437), after Williams, Machine Learning 1992",
        ("black box", "policy gradient"),
        "complete: `archipel bench`, `archipel search trials`",
    ),
    "nasnet": Method(
        "nasnet",
        "Zoph et al., Learning Transferable Architectures for Scalable Image Recognition, CVPR 2018 (arXiv 1707.07012)",
        ("black box", "policy gradient", "cells"),
        "complete: strategy `ppo`, space `nasnet`, ScheduledDropPath (`drop_path` of its networks)",
    ),
    "pnas": Method(
        "pnas",
        "Liu et al., Progressive Neural Architecture Search, ECCV 2018 (arXiv 1712.00559)",
        ("black box", "predictor", "cells"),
        "complete: strategy and space `pnas`, in Python",
    ),
    "hierarchical": Method(
        "hierarchical",
        "Liu et al., Hierarchical Representations for Efficient Architecture Search, ICLR 2018 (arXiv 1711.00436)",
        ("black box", "evolution", "cells"),
        "complete: strategy `tournament_evolution`, space `hierarchical`",
    ),
    "learning_curves": Method(
        "learning_curves",
        "Baker et al., Accelerating Neural Architecture Search using Performance Prediction, ICLR 2018 workshop (arXiv "
        "1705.10823)",
        ("predictor", "early stopping"),
        "complete: `archipel search trials`; the paper's own rule with `--stopping.method svr --stopping.patience 1`",
    ),
    "median_stopping": Method(
        "median_stopping",
        "Golovin et al., Google Vizier: A Service for Black-Box Optimization, KDD 2017",
        ("early stopping", "baseline"),
        "Optuna's: `archipel search trials --stopping median`",
    ),
    "successive_halving": Method(
        "successive_halving",
        "Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020 (arXiv 1810.05934)",
        ("early stopping", "multi-fidelity"),
        "Optuna's, asynchronous: `archipel search trials --stopping halving`",
    ),
    "hyperband": Method(
        "hyperband",
        "Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization, JMLR 2018 (arXiv "
        "1603.06560)",
        ("early stopping", "multi-fidelity"),
        "Optuna's, asynchronous: `archipel search trials --stopping hyperband`",
    ),
    "bayesian": Method(
        "bayesian",
        "Ru et al., Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman Kernels, "
        "ICLR 2021 (arXiv 2006.07556)",
        ("black box", "predictor", "Gaussian process"),
        "with another graph kernel: `archipel bench`",
    ),
    "bananas": Method(
        "bananas",
        "White et al., BANANAS: Bayesian Optimization with Neural Architectures for Neural Architecture Search, AAAI "
        "2021 (arXiv 1910.11858)",
        ("black box", "predictor", "ensemble"),
        "with an ensemble of GATES in place of perceptrons: `archipel bench`",
    ),
    "npenas": Method(
        "npenas",
        "Wei et al., NPENAS: Neural Predictor Guided Evolution for Neural Architecture Search (arXiv 2003.12857)",
        ("black box", "evolution", "predictor"),
        "complete as NP; as BO with an ensemble in place of the second head: `archipel bench`",
    ),
    "nao": Method(
        "nao",
        "Luo et al., Neural Architecture Optimization, NeurIPS 2018 (arXiv 1808.07233)",
        ("black box", "predictor"),
        "complete with networks that train alone: `archipel bench`, `archipel search trials`",
    ),
}
