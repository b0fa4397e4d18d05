"""BlockDrop: golden rewards, curriculum masks, the gradient by enumeration, a task whose right blocks are known."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.instance.code_cost import CodeCost
from archipel.instance.dropping import (
    Curriculum,
    DropTraining,
    Joint,
    block_use,
    drop_reward,
    forced_columns,
    latency_use,
)
from archipel.instance.policy import CodePolicy
from archipel.instance.search import mode_codes
from archipel.metagraph import MetaGraph, PerInstance
from archipel.run.checkpoint import Checkpoint
from archipel.space import Space
from archipel.spaces import instanas, resnet_flat
from archipel.tasks import Classification

K = 6


def bits(k: int) -> Tensor:
    """All codes of k bits, `[2^k, k]`."""
    return torch.tensor(list(itertools.product((False, True), repeat=k)))


class TestReward:
    @pytest.mark.parametrize(("kept", "earned"), [(0, 1.0), (1, 0.9375), (2, 0.75), (3, 0.4375), (4, 0.0)])
    def test_golden(self, kept: int, earned: float) -> None:
        codes = torch.zeros(2, 4, dtype=torch.bool)
        codes[:, :kept] = True
        reward = drop_reward(torch.tensor([True, False]), block_use(codes), 5.0)
        assert reward.tolist() == [earned, -5.0]

    def test_by_latency(self, arithmetic_table) -> None:
        """What every child has in common does not count: nothing kept uses 0, everything 1."""
        space = Space(resnet_flat, blocks=2)
        table = arithmetic_table(space)
        use = latency_use(CodeCost(space, table, overhead=0.7))
        columns = table.linear()[1]
        expected = bits(K).double() @ columns / columns.sum()
        torch.testing.assert_close(use(bits(K)), expected)
        assert (float(use(bits(K)[:1])), float(use(bits(K)[-1:]))) == (0.0, pytest.approx(1.0))

    def test_by_latency_of_the_first_candidates(self, arithmetic_table) -> None:
        """Where layers have several candidates, B is candidate 0 in every layer."""
        space = Space(instanas, macro="digits", size=8)
        cost = CodeCost(space, arithmetic_table(space))
        first = space.encode(cost.first())[None]
        assert float(latency_use(cost)(first)) == pytest.approx(1.0)


class TestCurriculumMasks:
    def test_one_block_more_each_epoch_from_the_end(self) -> None:
        space = Space(resnet_flat, blocks=2)
        for epoch in range(8):
            forced = forced_columns(space, epoch + 1)
            free = min(epoch + 1, K)
            assert forced.tolist() == [True] * (K - free) + [False] * free

    def test_of_layers_with_several_candidates(self) -> None:
        space = Space(instanas, macro="digits", size=8)
        forced = forced_columns(space, 1)
        assert int((~forced).sum()) == 5
        assert not forced[-5:].any()


class Constant(nn.Module):
    """A policy that says the same for every image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


def training_of(space: Space, controller: nn.Module, arithmetic_table, task: Classification | None = None, **more):
    cost = CodeCost(space, arithmetic_table(space))
    graph = more.pop("graph", None) or MetaGraph(space)
    return DropTraining(graph, controller, task, block_use, cost, seed=0, **more)  # type: ignore[arg-type]


class TestEstimator:
    """K = 6 blocks, a fixed table of who is right under which code: the sampled gradient against the enumerated one."""

    LOGITS = torch.tensor([0.3, -0.2, 0.8, -0.6, 0.1, 0.0])
    RIGHT = torch.rand(2**K, generator=torch.Generator().manual_seed(3)) < 0.6

    def reward(self, codes: Tensor) -> Tensor:
        number = (codes.long() * 2 ** torch.arange(K - 1, -1, -1)).sum(1)
        return drop_reward(self.RIGHT[number], block_use(codes), 1.0)

    @pytest.mark.parametrize("free", [K, 2])
    def test_the_gradient_is_the_enumerated_one(self, arithmetic_table, free: int) -> None:
        """Mean of 60,000 samples within four standard errors, self-critical baseline, α = 0.8; forced bits get none."""
        space, n = Space(resnet_flat, blocks=2), 60_000
        training = training_of(space, Constant(self.LOGITS), arithmetic_table)
        forced = forced_columns(space, free)

        z = self.LOGITS.double().requires_grad_()
        p = z.sigmoid()
        q = torch.where(forced, torch.ones_like(p), 0.8 * p + 0.2 * (1 - p))
        codes = bits(K)
        chance = torch.where(codes, q, 1 - q).prod(1)
        (exact,) = torch.autograd.grad((chance * self.reward(codes)).sum(), z)

        logits = self.LOGITS.double().expand(n, -1).clone().requires_grad_()
        drawn, log_prob, _ = training.draw(logits, 0.8, forced, torch.Generator().manual_seed(0))
        assert drawn[:, forced].all()
        mode = training.policy.mode(logits) | forced
        advantage = self.reward(drawn) - self.reward(mode)
        (each,) = torch.autograd.grad((advantage * log_prob).sum(), logits)
        error = each.std(0) / n**0.5
        assert ((each.mean(0) - exact).abs() <= 4 * error + 1e-9).all()
        assert (exact[forced] == 0).all()
        assert (exact[~forced].abs() > 1e-3).all()

    def test_nothing_is_learnt_where_the_sample_is_the_mode(self, arithmetic_table) -> None:
        certain = torch.full((K,), 40.0)
        training = training_of(Space(resnet_flat, blocks=2), Constant(certain), arithmetic_table)
        nothing = torch.zeros(K, dtype=torch.bool)
        drawn, _, _ = training.draw(certain.expand(50, -1), 1.0, nothing, torch.Generator().manual_seed(0))
        assert torch.equal(drawn, training.policy.mode(certain.expand(50, -1)))


class Block(nn.Module):
    """Answers for images marked by their right half's brightness: the first block for dark marks, the second for bright
    ones; of the others it says nothing that is right."""

    def __init__(self, mark: float) -> None:
        super().__init__()
        self.mark = mark
        self.gain = nn.Parameter(torch.tensor(4.0))

    def forward(self, x: Tensor) -> Tensor:
        left, right = x[..., :4].mean((1, 2, 3)), x[..., 4:].mean((1, 2, 3))
        ours = (right > 0).float() == self.mark
        evidence = self.gain * left * (1 - 2 * self.mark) * ours
        y = torch.stack([-evidence, evidence], 1)
        return y[:, :, None, None].expand(-1, -1, *x.shape[2:])


class Grey(nn.Module):
    """The images, and what blocks have said so far."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return (self.first(x) + self.second(x)).mean((2, 3))


def two_blocks(choose) -> nn.Module:
    """Two blocks, of which each image needs one."""
    return Grey(
        choose.subset("dark", {"block": lambda: Block(0.0)}, empty=Silent),
        choose.subset("bright", {"block": lambda: Block(1.0)}, empty=Silent),
    )


class Silent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.new_tensor([0.1, 0.0]).view(1, 2, 1, 1).expand(len(x), 2, *x.shape[2:])


class Marks(nn.Module):
    """A policy that sees the right half's brightness alone."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 2)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x[..., 4:].mean((1, 2, 3))[:, None])


def planted_training(task: Classification, arithmetic_table) -> DropTraining:
    torch.manual_seed(0)
    return training_of(Space(two_blocks), Marks(), arithmetic_table, task)


OPTIONS = Curriculum(epochs=8, batch=16, lr=0.1, penalty=1.0, beta=0.02)


class TestPlanted:
    def test_the_policy_learns_which_block_an_image_needs(self, planted, arithmetic_table) -> None:
        task = planted.task(types=2)
        training = planted_training(task, arithmetic_table)
        before = {name: t.clone() for name, t in training.graph.state_dict().items()}
        rows = training.curriculum(OPTIONS)
        assert [row["free"] for row in rows] == [1, *[2] * 7]
        assert all(torch.equal(t, before[name]) for name, t in training.graph.state_dict().items())
        assert rows[-1]["val_accuracy"] >= 0.95
        assert rows[-1]["map_use"] == pytest.approx(0.5, abs=0.05)
        for batch in task.loader("val", 64):
            codes = mode_codes(training.controller, CodePolicy(training.graph.space), batch.inputs)
            is_bright = batch.inputs[..., 4:].mean((1, 2, 3)) > 0
            assert ((codes[:, 1] == is_bright) & (codes[:, 0] == ~is_bright)).float().mean() >= 0.95

    def test_in_the_first_epoch_the_first_block_runs_for_all(self, planted, arithmetic_table) -> None:
        training = planted_training(planted.task(types=2), arithmetic_table)
        seen: list[Tensor] = []
        training.graph.register_forward_pre_hook(lambda _m, given: seen.append(given[1].architectures))
        training.curriculum(Curriculum(epochs=1, batch=16))
        codes = torch.cat(seen)
        assert codes[:, 0].all()
        assert not codes[:, 1].all()

    def test_joint_training_moves_both(self, planted, arithmetic_table) -> None:
        training = planted_training(planted.task(types=2), arithmetic_table)
        training.curriculum(OPTIONS)
        before = [p.detach().clone() for p in (*training.graph.parameters(), *training.controller.parameters())]
        rows = training.joint(Joint(epochs=2, batch=32, lr=0.01, recalibrate=False), 2.0)
        after = [*training.graph.parameters(), *training.controller.parameters()]
        assert all(not torch.equal(a, b) for a, b in zip(before, after))
        assert rows[-1]["val_accuracy"] >= 0.95
        assert rows[-1]["loss"] > 0

    def test_where_blocks_are_of_no_use_none_is_kept(self, planted, arithmetic_table) -> None:
        """Labels that no block knows: what is left to be gained is what leaving out earns."""
        task = planted.task(types=2)
        task.labels = task.labels[torch.randperm(len(task.labels), generator=torch.Generator().manual_seed(0))]
        rows = planted_training(task, arithmetic_table).curriculum(OPTIONS)
        assert rows[-1]["map_use"] < 0.1

    @pytest.mark.parametrize("scaling", ["mean", "sum"])
    def test_a_run_that_was_killed_ends_the_same(
        self, planted, arithmetic_table, tmp_path: Path, killer, killed, scaling: str
    ) -> None:
        options = Joint(epochs=2, batch=32, lr=0.01, scaling=scaling, recalibrate=False)  # type: ignore[arg-type]

        def go(path: Path, at: int | None) -> tuple[list, dict[str, Tensor]]:
            training = planted_training(planted.task(types=2), arithmetic_table)
            chance = killer(at, Checkpoint(path / "joint"))
            rows = training.joint(options, 2.0, checkpoint=chance, progress=chance)
            return rows, training.graph.state_dict()

        whole = go(tmp_path / "whole", None)
        with pytest.raises(killed):
            go(tmp_path, 8)
        rows, state = go(tmp_path, None)
        assert rows == whole[0]
        assert all(torch.equal(t, whole[1][name]) for name, t in state.items())


def test_sum_is_mean_times_the_batch(planted, arithmetic_table, monkeypatch: pytest.MonkeyPatch) -> None:
    from archipel.instance import dropping

    losses: dict[str, list[float]] = {"mean": [], "sum": []}
    for scaling, kept in losses.items():
        monkeypatch.setattr(dropping, "_step", lambda _o, loss, kept=kept: kept.append(float(loss.detach())))
        training = planted_training(planted.task(types=2), arithmetic_table)
        loss = training.task.loss
        monkeypatch.setattr(training.task, "loss", lambda *a, loss=loss: {"total": 0.0 * loss(*a)["total"]})
        training.joint(Joint(epochs=1, batch=32, scaling=scaling, recalibrate=False), 2.0)  # type: ignore[arg-type]
    assert len(losses["mean"]) == 3
    assert losses["sum"] == pytest.approx([32 * value for value in losses["mean"]])
    assert any(abs(value) > 1e-4 for value in losses["mean"])


def test_all_ones_is_the_plain_network() -> None:
    graph = MetaGraph(Space(resnet_flat, blocks=1)).eval()
    x = torch.randn(4, 3, 8, 8)
    codes = CodePolicy(graph.space).mode(torch.ones(4, 3))
    plain = graph.extract(graph.space.unrank(graph.space.size - 1))
    torch.testing.assert_close(graph(x, PerInstance(codes)), plain(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Curriculum(epochs=-1), "curriculum.epochs is -1; give 0 or more"),
        (lambda: Curriculum(alpha=(0.8, 0.3)), "curriculum.alpha is [0.8, 0.3]; give two numbers from 0.5 to 1"),
        (lambda: Joint(batch=1), "joint.batch is 1; give 2 or more"),
        (lambda: Joint(penalties=()), "joint.penalties is []; give different numbers of 0 or more, at least one"),
        (
            lambda: Joint(penalties=(2.0, -1.0)),
            "joint.penalties is [2.0, -1.0]; give different numbers of 0 or more, at least one",
        ),
        (lambda: Joint(lr=0.0), "joint.lr is 0; give a number above 0"),
    ],
)
def test_mistakes(made, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        made()
    assert str(caught.value) == said
