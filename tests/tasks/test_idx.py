from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from archipel.errors import DataError
from archipel.tasks import load
from archipel.tasks.idx import read_idx


@pytest.mark.parametrize(
    ("folder", "name", "first"),
    [("my_mnist", "mnist", "0"), ("Fashion-MNIST", "fashion_mnist", "T-shirt/top"), ("symbols", "symbols", "0")],
)
def test_the_folder_s_name_says_which_it_is(tiny_idx: Path, tmp_path: Path, folder: str, name: str, first: str) -> None:
    shutil.copytree(tiny_idx, tmp_path / folder)
    task = load(tmp_path / folder)
    assert task.spec.name == name
    assert task.spec.classes[0] == first
    assert len(task.spec.classes) == 10
    assert task.spec.input_shape == (1, 28, 28)
    assert task.splits == {"train": 70, "arch": 20, "val": 10, "test": 30}
    assert task.labels[task.indices["test"]].tolist() == [i % 10 for i in range(30)]


def test_files_where_torchvision_puts_them(tiny_idx: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_idx, tmp_path / "FashionMNIST" / "raw")
    assert load(tmp_path).spec.name == "fashion_mnist"


def test_digits_are_never_mirrored(tiny_idx: Path) -> None:
    """Every augmented digit is a shift of the digit by two pixels at most."""
    task = load("mnist", root=tiny_idx)
    plain = task.images[task.indices["train"]]
    padded = torch.nn.functional.pad(plain, (2, 2, 2, 2))
    for batch in task.loader("train", 10, seed=0):
        pixels = (batch.inputs * task.std + task.mean).round().to(torch.uint8)
        shifts = padded[batch.index].unfold(2, 28, 1).unfold(3, 28, 1)  # [B, 1, 5, 5, 28, 28]
        assert (shifts == pixels[:, :, None, None]).flatten(4).all(4).flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no IDX file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "no IDX file of bytes"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abc", "holds 3 values where its header says 5"),
        (b"\x00\x00\x08\x03\x00\x00", "fetch it again"),
        (gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x03abc", mtime=0)[:-9], "cannot be read"),
    ],
)
def test_damaged_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_idx(path)


def test_read_idx_reads_any_number_of_dimensions(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\x00\x00\x08\x02\x00\x00\x00\x02\x00\x00\x00\x03" + bytes(range(6)))
    assert np.array_equal(read_idx(path), np.arange(6).reshape(2, 3))


def test_missing_and_misfitting_files(tiny_idx: Path, tmp_path: Path) -> None:
    root = tmp_path / "mnist"
    shutil.copytree(tiny_idx, root)
    shutil.copy(root / "t10k-labels-idx1-ubyte", root / "train-labels-idx1-ubyte")
    with pytest.raises(DataError, match="do not fit"):
        load(root)
    (root / "train-labels-idx1-ubyte").unlink()
    (root / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"needs the file .*train-labels-idx1-ubyte"):
        load(root)


def test_without_test_files_a_test_set_is_dealt(tiny_idx: Path, tmp_path: Path) -> None:
    root = tmp_path / "mnist"
    root.mkdir()
    for path in tiny_idx.glob("train-*"):
        shutil.copy(path, root)
    assert load(root).splits["test"] == 20
