"""A checkpoint restores everything bit for bit, and is either the old one or the new one."""

import errno
import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from archipel.errors import RunError
from archipel.run import atomic
from archipel.run.atomic import StorageError
from archipel.run.checkpoint import Checkpoint


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def adam(net: nn.Module) -> torch.optim.Optimizer:
    first, rest = list(net.parameters())[:1], list(net.parameters())[1:]
    groups = [{"params": first, "lr": 0.01}, {"params": rest, "betas": (0.8, 0.9)}]
    return torch.optim.Adam(groups, lr=1e-3, weight_decay=1e-4)


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)


def train(net: nn.Module, optimizer: torch.optim.Optimizer, data: torch.Generator, steps: int) -> None:
    net.train()
    for step in range(steps):
        x = torch.randn(16, 4, generator=data)
        optimizer.param_groups[0]["lr"] *= 0.9
        loss = nn.functional.cross_entropy(net(x), torch.arange(16) % 3)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            net[4].bias.grad = None  # type: ignore[union-attr]  # a parameter without optimizer state
        optimizer.step()


@pytest.mark.parametrize("make", [adam, sgd])
def test_continued_equals_uninterrupted(tmp_path, make):
    checkpoint = Checkpoint(tmp_path / "deep" / "state.safetensors")
    net, data = network(), torch.Generator().manual_seed(1)
    optimizer = make(net)
    train(net, optimizer, data, 1)
    random = {"data": data.get_state(), "torch": torch.get_rng_state()}
    meta = {"epoch": 3, "best": 0.1 + 0.2, "curve": [1e-300, float("inf")], "name": "é"}
    checkpoint.save({"net": net, "optimizer": optimizer, "random": random}, meta)
    train(net, optimizer, data, 5)

    again, other = network(seed=5), torch.Generator()
    restored: dict[str, torch.Tensor] = {}
    second = make(again)
    assert checkpoint.load({"net": again, "optimizer": second, "random": restored}) == meta
    other.set_state(restored["data"])
    torch.set_rng_state(restored["torch"])
    train(again, second, other, 5)

    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key
    assert optimizer.state_dict()["param_groups"] == second.state_dict()["param_groups"]
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            assert torch.equal(value, second.state_dict()["state"][index][key]), (index, key)


def test_absent_is_none_and_touches_nothing(tmp_path):
    checkpoint, net = Checkpoint(tmp_path / "none.safetensors"), network()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert not checkpoint.exists
    assert checkpoint.load({"net": net}) is None
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_tensor_lr_and_tied_weights_survive(tmp_path):
    net = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    net[1].weight = net[0].weight  # type: ignore[union-attr]
    optimizer = torch.optim.Adam(net.parameters(), lr=torch.tensor(0.5))
    checkpoint = Checkpoint(tmp_path / "tied.safetensors")
    checkpoint.save({"net": net, "optimizer": optimizer, "none": {}}, {})
    optimizer.param_groups[0]["lr"].zero_()
    checkpoint.load({"net": net, "optimizer": optimizer, "none": {}})
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_mapping_is_restored_in_place(tmp_path):
    checkpoint, state = Checkpoint(tmp_path / "a.safetensors"), {"mean": torch.arange(3.0)}
    checkpoint.save({"state": state}, {})
    held = state["mean"]
    held.zero_()
    checkpoint.load({"state": state})
    assert state["mean"] is held
    assert held.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"net": nn.Linear(4, 3)}, "'bias'|'weight'"),
        ({"other": nn.Linear(4, 2)}, "holds the parts net"),
        ({"net": nn.Linear(4, 2, bias=False)}, "'bias' is only in the file"),
        ({"net": nn.Linear(4, 2).double()}, "float32"),
        ({"net": {"weight": torch.zeros(2, 4)}}, "is a module, not tensors"),
        ({"net": torch.optim.SGD(nn.Linear(1, 1).parameters())}, "is a module, not an optimizer"),
    ],
)
def test_a_mismatch_names_the_file_and_changes_nothing(tmp_path, parts, words):
    checkpoint = Checkpoint(tmp_path / "linear.safetensors")
    checkpoint.save({"net": nn.Linear(4, 2)}, {})
    with pytest.raises(RunError, match=words) as caught:
        checkpoint.load(parts)
    assert "linear.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_optimizer_is_a_mismatch(tmp_path):
    net, checkpoint = network(), Checkpoint(tmp_path / "o.safetensors")
    checkpoint.save({"net": net, "optimizer": adam(net)}, {})
    fresh = network(seed=3)
    before = fresh[0].weight.clone()  # type: ignore[index]
    with pytest.raises(RunError, match="is Adam over"):
        checkpoint.load({"net": fresh, "optimizer": sgd(fresh)})
    assert torch.equal(before, fresh[0].weight)  # type: ignore[index]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "header"])
def test_damage_is_found(tmp_path, damage):
    checkpoint = Checkpoint(tmp_path / "net.safetensors")
    checkpoint.save({"net": network()}, {"epoch": 1})
    content = bytearray(checkpoint.path.read_bytes())
    if damage == "flip":
        content[-3] ^= 1
    elif damage == "header":
        content[20] = 0
    else:
        content = {"cut": content[: len(content) // 2], "empty": bytearray(), "text": bytearray(b"hello")}[damage]
    checkpoint.path.write_bytes(content)
    with pytest.raises(RunError, match=r"net\.safetensors is damaged"):
        checkpoint.load({"net": network()})


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(RunError, match="was not written by archipel"):
        Checkpoint(tmp_path / "x.safetensors").load({"x": {}})


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_previous_file(tmp_path, monkeypatch, call):
    checkpoint = Checkpoint(tmp_path / "net.safetensors")
    checkpoint.save({"net": nn.Linear(2, 2)}, {"epoch": 1})
    before = checkpoint.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, call, full)
    with pytest.raises(StorageError, match="no space left") as caught:
        checkpoint.save({"net": nn.Linear(2, 2)}, {"epoch": 2})
    assert str(tmp_path) in str(caught.value)
    assert checkpoint.path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_a_file_size_limit_leaves_the_previous_file(tmp_path):
    """A real refusal by the kernel, in a process of its own because the limit cannot be raised again."""
    program = f"""
        import resource, sys, torch
        from archipel.errors import RunError
        from archipel.run.checkpoint import Checkpoint
        checkpoint = Checkpoint({str(tmp_path / "net.safetensors")!r})
        checkpoint.save({{"net": torch.nn.Linear(4, 4)}}, {{"epoch": 1}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            checkpoint.save({{"net": torch.nn.Linear(400, 400)}}, {{"epoch": 2}})
        except RunError as error:
            print(type(error).__name__)
        print(checkpoint.load({{"net": torch.nn.Linear(4, 4)}}))
    """
    assert resource.RLIMIT_FSIZE
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:2] == ["StorageError", "{'epoch': 1}"], done.stderr
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_a_really_full_disk_leaves_the_previous_file(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")
    try:
        checkpoint = Checkpoint(disk / "net.safetensors")
        checkpoint.save({"net": nn.Linear(4, 4)}, {"epoch": 1})
        with pytest.raises(StorageError, match="no space left"):
            checkpoint.save({"net": nn.Linear(400, 400)}, {"epoch": 2})
        assert checkpoint.load({"net": nn.Linear(4, 4)}) == {"epoch": 1}
        assert os.listdir(disk) == ["net.safetensors"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path):
    """SIGKILL at many instants: whatever is there afterwards loads."""
    path = tmp_path / "net.safetensors"
    program = f"""
        import itertools, torch
        from archipel.run.checkpoint import Checkpoint
        net, checkpoint = torch.nn.Linear(300, 300), Checkpoint({str(path)!r})
        for i in itertools.count():
            torch.nn.init.constant_(net.weight, i)
            checkpoint.save({{"net": net}}, {{"i": i}})
            print(i, flush=True)
    """
    net = nn.Linear(300, 300)
    for lines in (1, 3):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(lines):
                process.stdout.readline()
            process.kill()
        meta = Checkpoint(path).load({"net": net})
        assert meta is not None
        assert torch.equal(net.weight, torch.full((300, 300), float(meta["i"])))


def test_a_part_that_is_no_tensor_is_refused(tmp_path):
    with pytest.raises(TypeError, match="put it into meta"):
        Checkpoint(Path(tmp_path / "x.safetensors")).save({"x": {"epoch": 3}}, {})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="'/'"):
        Checkpoint(Path(tmp_path / "x.safetensors")).save({"a/b": {}}, {})
