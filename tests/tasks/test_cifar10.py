from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from archipel.errors import DataError
from archipel.tasks import SPLITS, load


def test_the_binary_files_hold_planes(tiny_cifar_binary: Path) -> None:
    task = load(tiny_cifar_binary)
    assert task.spec.name == "cifar10"
    assert task.spec.input_shape == (3, 32, 32)
    assert task.splits == {"train": 110, "arch": 20, "val": 20, "test": 30}
    record = np.fromfile(tiny_cifar_binary / "cifar-10-batches-bin" / "test_batch.bin", np.uint8)[:3073]
    assert task.labels[task.indices["test"][0]] == record[0]
    assert np.array_equal(task.image("test", 0), record[1:].reshape(3, 32, 32).transpose(1, 2, 0))
    assert task.spec.classes[0] == "airplane"


def test_jpeg_files(tiny_cifar_jpeg: Path) -> None:
    task = load(tiny_cifar_jpeg)
    assert task.spec.name == "cifar10"
    assert task.splits["test"] == 30
    assert task.labels[task.indices["test"]].tolist() == [i % 10 for i in range(30)]


def test_images_takes_the_first_of_each_class(tiny_cifar_jpeg: Path) -> None:
    task = load(tiny_cifar_jpeg, images=40, test_images=10)
    assert {split: n for split, n in task.splits.items() if split != "test"} == {"train": 20, "arch": 10, "val": 10}
    whole = load(tiny_cifar_jpeg)
    kept = {row.numpy().tobytes() for split in SPLITS[:3] for row in task.images[task.indices[split]]}
    order = torch.cat([whole.indices[split] for split in SPLITS[:3]]).sort().values[:40]  # labels go 0..9, 0..9
    assert kept == {row.numpy().tobytes() for row in whole.images[order]}


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80\x02}")
    for attempt in (lambda: load(tmp_path), lambda: load("cifar10", root=tmp_path)):
        with pytest.raises(DataError, match=r"pickles.*get the binary version"):
            attempt()


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no CIFAR-10"):
        load("cifar10", root=tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073))
    with pytest.raises(DataError, match=r"lacks the file data_batch_2.bin"):
        load(tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3000))
    with pytest.raises(DataError, match="not a multiple of 3073"):
        load(tmp_path)
    (tmp_path / "cifar10_jpeg.npz").write_text("?")
    with pytest.raises(DataError, match="is not the npz"):
        load(tmp_path)


def test_the_real_ones(real_data: Path) -> None:
    task = load("cifar10", root=real_data / "cifar10", images=1000, test_images=50)
    assert task.splits == {"train": 750, "arch": 150, "val": 100, "test": 50}
    assert torch.allclose(task.mean, torch.tensor([125.3, 122.9, 113.9]), atol=3)
    assert torch.allclose(task.std, torch.tensor([62.5, 61.9, 66.5]), atol=3)
    with np.load(real_data / "cifar10" / "cifar10_first4000_lossless.npz", allow_pickle=False) as exact:
        images, labels = exact["images"], exact["labels"]
    kept = torch.cat([task.indices[split] for split in SPLITS[:3]]).sort().values
    positions = np.sort(np.concatenate([np.flatnonzero(labels == label)[:100] for label in range(10)]))
    assert np.array_equal(task.labels[kept].numpy(), labels[positions])
    error = task.images[kept].permute(0, 2, 3, 1).double() - torch.from_numpy(images[positions])
    psnr = 10 * torch.log10(255**2 / error.square().mean((1, 2, 3)))
    assert 29.5 < psnr.mean() < 31.5  # the JPEG files' own distance is 30.5 dB
