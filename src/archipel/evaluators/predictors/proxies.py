"""Zero-cost proxies: one batch through a network that has learned nothing.

Definitions of Abdelfattah et al., Zero-cost proxies for lightweight NAS, ICLR 2021, and of the papers they name. Sums
over weights are over the parameters of two dimensions and more, those of convolutions and products. Networks run in
training mode, with the batch's own statistics, unless it says otherwise. Each leaves the weights as they were.
Letters: `B` batch, `θ` weights, `g` the loss' gradient in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "PROXIES",
    "Probe",
    "Proxy",
    "fisher",
    "gradient_norm",
    "grasp",
    "jacobian_covariance",
    "naswot",
    "snip",
    "synflow",
]


@dataclass(frozen=True)
class Probe:
    """One batch of a task."""

    inputs: Tensor
    """`[B, …]`, float."""
    loss: Callable[[Tensor], Tensor]
    """The network's output for `inputs` → its mean loss, a scalar."""


Proxy: TypeAlias = Callable[[nn.Module, Probe], float]
"""A fresh network and a batch → a number, larger for networks that promise more."""


def gradient_norm(network: nn.Module, probe: Probe) -> float:
    """Σ over layers of ‖g‖₂."""
    with _mode(network, training=True):
        _, gradients = _gradients(network, probe)
    return float(sum(gradient.norm() for gradient in gradients))


def snip(network: nn.Module, probe: Probe) -> float:
    """Σ |θ ⊙ g| (Lee et al., ICLR 2019)."""
    with _mode(network, training=True):
        weights, gradients = _gradients(network, probe)
    return float(sum((weight.detach() * gradient).abs().sum() for weight, gradient in zip(weights, gradients)))


def grasp(network: nn.Module, probe: Probe) -> float:
    """−Σ θ ⊙ (H g), H the loss' Hessian (Wang et al., ICLR 2020)."""
    with _mode(network, training=True):
        weights, gradients = _gradients(network, probe, create_graph=True)
        product = sum((gradient * gradient.detach()).sum() for gradient in gradients)
        if not isinstance(product, Tensor) or not product.requires_grad:  # the gradient does not depend on the weights
            return 0.0
        curved = torch.autograd.grad(product, weights, allow_unused=True)
    return -float(sum((weight.detach() * hg).sum() for weight, hg in zip(weights, curved) if hg is not None))


def fisher(network: nn.Module, probe: Probe) -> float:
    """Σ over layers and their channels of mean_B ½ (Σ_{h,w} a ⊙ ∂L/∂a)², a the outputs of convolutions and linear
    layers (Theis et al., arXiv 1801.05787; Turner et al., ICLR 2020)."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _given: Any, output: Tensor) -> Tensor:
        outputs.append(output)
        return output.clone()  # which may be changed in place

    layers = [part for part in network.modules() if isinstance(part, nn.Linear | nn.modules.conv._ConvNd)]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    total = 0.0
    try:
        with _mode(network, training=True):
            loss = probe.loss(network(probe.inputs))
            gradients = torch.autograd.grad(loss, outputs, allow_unused=True) if outputs else ()
    finally:
        for hook in hooks:
            hook.remove()
    for a, gradient in zip(outputs, gradients):
        if gradient is not None:
            each = (a * gradient).detach()
            each = each.flatten(2).sum(2) if each.dim() > 2 else each  # [B, channels]
            total += float(each.square().mean(0).sum() / 2)
    return total


def synflow(network: nn.Module, probe: Probe) -> float:
    """log Σ θ ⊙ ∂R/∂θ, R the sum of the outputs for an image of ones through |θ| (Tanaka et al., NeurIPS 2020).

    The logarithm, since the sum grows exponentially with depth; −∞ would be a network through which nothing flows, and
    is the logarithm of the smallest double here. In double precision, without batch norm.
    """
    weights = [p for p in network.parameters() if p.requires_grad]
    saved = [weight.detach().clone() for weight in weights]
    types = [weight.dtype for weight in weights]
    ones = torch.ones_like(probe.inputs[:1], dtype=torch.float64)
    try:
        network.double()
        with torch.no_grad():
            for weight in weights:
                weight.abs_()
        with _mode(network, training=False), _without_batch_norm(network):
            flow = network(ones).sum()
            heavy = [weight for weight in weights if weight.dim() > 1]
            gradients = torch.autograd.grad(flow, heavy, allow_unused=True) if flow.requires_grad else ()
        total = sum(float((w.detach() * g).sum()) for w, g in zip(heavy, gradients) if g is not None)
    finally:
        network.to(types[0] if types else torch.float32)
        with torch.no_grad():
            for weight, before in zip(weights, saved):
                weight.copy_(before)
    return float(torch.tensor(max(total, torch.finfo(torch.float64).tiny), dtype=torch.float64).log())


def jacobian_covariance(network: nn.Module, probe: Probe) -> float:
    """−Σ_i (log(v_i + ε) + 1 / (v_i + ε)), v the eigenvalues of the correlations between the images' gradients of the
    summed output, ε = 10⁻⁵ (Mellor et al., arXiv 2006.04647v1). Images that are all alike to it have correlation 1."""
    inputs = probe.inputs.detach().clone().requires_grad_()
    with _mode(network, training=True):
        (gradient,) = torch.autograd.grad(network(inputs).sum(), inputs, allow_unused=True)
    jacobian = (torch.zeros_like(inputs) if gradient is None else gradient).flatten(1).double()
    centred = jacobian - jacobian.mean(1, keepdim=True)
    norms = centred.norm(dim=1)
    correlations = torch.where(norms.outer(norms) > 0, centred @ centred.T / norms.outer(norms), 1.0)
    v = torch.linalg.eigvalsh(correlations).clamp(min=0) + 1e-5
    return -float((v.log() + 1 / v).sum())


def naswot(network: nn.Module, probe: Probe) -> float:
    """log |K|, K_ij the number of rectified units that agree for images i and j (Mellor et al., ICML 2021).

    Eigenvalues below 10⁻⁶ count as that, so that a network that cannot tell two images apart has a score too.
    """
    watch = _Rectified(len(probe.inputs))
    with _mode(network, training=True), torch.no_grad(), watch:
        network(probe.inputs)
    return float(torch.linalg.eigvalsh(watch.agree).clamp(min=1e-6).log().sum())


PROXIES: dict[str, Proxy] = {
    "synflow": synflow,
    "snip": snip,
    "grasp": grasp,
    "fisher": fisher,
    "gradient_norm": gradient_norm,
    "jacobian_covariance": jacobian_covariance,
    "naswot": naswot,
}
"""Those that need a batch, by name."""


class _Rectified(TorchDispatchMode):
    """Counts over all ReLUs, however they are called, the units that agree for each two images."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.agree = torch.zeros(batch, batch, dtype=torch.float64)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("relu", "relu_", "hardtanh", "hardtanh_"):
            on = (output > 0).flatten(1).float()
            off = 1 - on
            self.agree += (on @ on.T + off @ off.T).double().cpu()
        return output


def _gradients(
    network: nn.Module, probe: Probe, *, create_graph: bool = False
) -> tuple[list[nn.Parameter], list[Tensor]]:
    """The weights, and the loss' gradient in each; 0 where it does not depend on one."""
    weights = [p for p in network.parameters() if p.requires_grad and p.dim() > 1]
    loss = probe.loss(network(probe.inputs))
    found = torch.autograd.grad(loss, weights, create_graph=create_graph, allow_unused=True)
    return weights, [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found)]


@contextmanager
def _mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """The mode of every module set, and afterwards as it was; batch-norm statistics too."""
    before = [(part, part.training) for part in network.modules()]
    statistics = [(buffer, buffer.clone()) for buffer in network.buffers()]
    network.train(training)
    try:
        yield
    finally:
        for part, was in before:
            part.training = was
        with torch.no_grad():
            for buffer, saved in statistics:
                buffer.copy_(saved)


@contextmanager
def _without_batch_norm(network: nn.Module) -> Iterator[None]:
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm)]
    for part in norms:
        part.forward = _same  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        for part in norms:
            del part.forward


def _same(x: Tensor) -> Tensor:
    return x
