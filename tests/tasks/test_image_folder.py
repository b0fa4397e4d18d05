from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from archipel.errors import DataError, OptionError
from archipel.tasks import SPLITS, EncodedImages, load

Write = Callable[..., Path]


def truncate(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def contents(task: object, split: str) -> list[bytes]:
    return [row.numpy().tobytes() for row in task.images[task.indices[split]]]  # type: ignore[attr-defined]


def test_a_plain_folder(tmp_path: Path, write_classes: Write) -> None:
    task = load(write_classes(tmp_path / "pets", classes=3, n=20))
    assert task.spec.name == "pets"
    assert task.spec.classes == ("class0", "class1", "class2")
    assert task.spec.input_shape == (3, 16, 16)
    assert task.splits == {"train": 30, "arch": 9, "val": 9, "test": 12}
    assert task.skipped == []
    assert contents(task, "train") == contents(load("folder", root=tmp_path / "pets"), "train")


def test_pixels_and_labels_belong_together(tmp_path: Path) -> None:
    for label in range(3):
        (tmp_path / f"{label}").mkdir()
        for i in range(8):
            Image.new("L", (8, 8), 80 * label + i).save(tmp_path / f"{label}" / f"{i}.png")
    task = load(tmp_path)
    for split in SPLITS:
        for batch in task.loader(split, 4):
            values = task.images[task.indices[split][batch.index]][:, 0, 0, 0]
            assert (values // 80).equal(batch.targets)


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "valid", "TEST"), ("training", "validation", None)]
)
def test_parts_that_are_given_stay(tmp_path: Path, write_classes: Write, names: tuple[str | None, ...]) -> None:
    sizes = (12, 4, 5)
    for seed, (name, n) in enumerate(zip(names, sizes)):
        if name is not None:
            write_classes(tmp_path / name, n=n, seed=seed)
    (tmp_path / "notes").mkdir()
    one, other = load(tmp_path, seed=0), load(tmp_path, seed=1)
    assert one.splits["val"] == 8
    assert set(contents(one, "val")) == set(contents(other, "val"))
    if names[2]:
        assert one.splits == {"train": 20, "arch": 4, "val": 8, "test": 10}
        assert set(contents(one, "test")) == set(contents(other, "test"))
    else:
        assert one.splits["test"] == 4


def test_grey_stays_one_channel_until_one_is_coloured(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path, channels=1)
    assert load(tmp_path).spec.input_shape == (1, 16, 16)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "class0" / "red.png")
    task = load(tmp_path)
    assert task.spec.input_shape == (3, 16, 16)
    assert torch.allclose(*task.mean[1:])


@pytest.mark.parametrize(
    ("sides", "size"), [((20, 20), 24), ((30, 44), 40), ((5, 5), 8), ((600, 400), 224), ((27, 27), 24)]
)
def test_the_default_size_is_the_median_side(tmp_path: Path, sides: tuple[int, int], size: int) -> None:
    for label in range(2):
        (tmp_path / f"{label}").mkdir()
        for i in range(4):
            Image.new("L", sides, 100 * label + i).save(tmp_path / f"{label}" / f"{i}.png")
    assert load(tmp_path).spec.input_shape == (1, size, size)
    assert load(tmp_path, size=11).spec.input_shape == (1, 11, 11)


def test_hidden_and_other_files_are_ignored_and_nested_ones_found(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "class0" / "labels.csv").write_text("hello")
    (tmp_path / "class0" / "._0.png").write_text("hello")
    (tmp_path / "class0" / "Thumbs.db").write_text("hello")
    for folder in (".cache", "__MACOSX", "class1/.thumbnails"):
        shutil.copytree(tmp_path / "class0", tmp_path / folder)
    (tmp_path / "class1" / "more").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "class1" / "more" / "black.PNG")
    task = load(tmp_path)
    assert task.spec.classes == ("class0", "class1")
    assert sum(task.splits.values()) == 25
    assert task.skipped == []


def test_damaged_files_are_left_out_and_listed(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path, n=30)
    truncate(tmp_path / "class0" / "3.png")
    (tmp_path / "class0" / "4.png").write_bytes(b"")
    (tmp_path / "class1" / "5.png").write_text("not a picture")
    task = load(tmp_path)
    assert sum(task.splits.values()) == 57
    assert [Path(one.path).as_posix() for one in task.skipped] == ["class0/3.png", "class0/4.png", "class1/5.png"]
    assert all(one.why and "\n" not in one.why for one in task.skipped)
    assert "truncated" in task.skipped[0].why
    with pytest.raises(DataError, match=r"5% of the pictures in .* \(max_damaged=4%\), the first 'class0/3.png': "):
        load(tmp_path, max_damaged=0.04)


def test_a_damaged_file_is_replaced_when_few_are_asked_for(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path, n=40)
    for i in range(2):
        truncate(tmp_path / "class0" / f"{i}.png")
    for images in (10, 20, 40):
        task = load(tmp_path, images=images)
        assert sum(task.splits[split] for split in SPLITS[:3]) == images


def test_equal_pictures_stay_together_whatever_their_files(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path, n=12)
    for i in range(6):
        for ending in ("bmp", "tif"):
            Image.open(tmp_path / "class0" / f"{i}.png").save(tmp_path / "class0" / f"copy{i}.{ending}")
    for seed in range(3):
        task = load(tmp_path, seed=seed)
        assert sum(task.splits.values()) == 36
        seen = [set(contents(task, split)) for split in SPLITS]
        assert not any(one & other for i, one in enumerate(seen) for other in seen[i + 1 :])


def test_big_folders_are_decoded_batch_by_batch(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path, n=20)
    held, lazy = load(tmp_path), load(tmp_path, cache_bytes=10_000)
    assert isinstance(held.images, torch.Tensor)
    assert isinstance(lazy.images, EncodedImages)
    assert held.splits == lazy.splits
    assert held.mean.equal(lazy.mean)
    for seed in (None, 3):
        for one, other in zip(held.loader("train", 7, seed=seed), lazy.loader("train", 7, seed=seed), strict=True):
            assert one.inputs.equal(other.inputs)
            assert one.targets.equal(other.targets)
    assert np.array_equal(held.image("test", 2), lazy.image("test", 2))
    next(iter(lazy.loader("train", 7)))  # a loop may be left early
    assert [batch.shape for batch in lazy.calibration(2, 5)] == [(5, 3, 16, 16)] * 2


def test_only_the_pictures_in_use_are_decoded(
    tmp_path: Path, write_classes: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("archipel.tasks.image_folder")
    decode, seen = module.decode, []
    monkeypatch.setattr(module, "decode", lambda path, **options: seen.append(path) or decode(path, **options))
    write_classes(tmp_path, n=50)
    load(tmp_path, images=10, test_images=4)
    assert len(seen) == len(set(seen)) == 14


def test_mixed_modes_and_sizes_in_one_folder(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path, n=12)
    modes = {"L": "png", "LA": "png", "P": "gif", "RGBA": "png", "CMYK": "jpg", "1": "png", "RGB": "webp"}
    for i, (mode, ending) in enumerate(modes.items()):
        Image.new("RGB", (30 + i, 20), (200, i, 90)).convert(mode).save(tmp_path / "class1" / f"mode {mode}.{ending}")
    Image.fromarray(np.full((8, 9), 40_000, np.uint16)).save(tmp_path / "class1" / "sixteen.png")
    task = load(tmp_path)
    assert task.skipped == []
    assert sum(task.splits.values()) == 24 + 8
    assert task.spec.input_shape == (3, 16, 16)


# ---- mistakes: one line that names the folder ----


def one_line(error: pytest.ExceptionInfo[DataError]) -> None:
    assert "\n" not in str(error.value)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folder '.*nowhere' does not exist") as error:
        load("folder", root=tmp_path / "nowhere")
    one_line(error)


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_text("")
    with pytest.raises(DataError, match=r"photos.zip' is a file"):
        load(tmp_path / "photos.zip")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures in class subfolders;"):
        load(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        load(tmp_path)


def test_pictures_without_class_folders(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="outside of class subfolders"):
        load(tmp_path)


def test_one_class(tmp_path: Path, write_classes: Write) -> None:
    with pytest.raises(DataError, match=r"only one class \('class0'\)"):
        load(write_classes(tmp_path, classes=1))


def test_all_unreadable(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path)
    for path in tmp_path.rglob("*.png"):
        truncate(path, 0.6)
    with pytest.raises(DataError, match=r"all pictures in .* cannot be read"):
        load(tmp_path, max_damaged=1)
    for path in tmp_path.rglob("*.png"):
        path.write_text("?")
    with pytest.raises(DataError, match=r"all pictures in .* not a picture that can be read") as error:
        load(tmp_path)
    one_line(error)


def test_a_class_with_too_few(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path)
    for i in range(3, 12):
        (tmp_path / "class1" / f"{i}.png").unlink()
    with pytest.raises(DataError, match="class 'class1' has 3 different images; it needs at least 4"):
        load(tmp_path)


def test_classes_that_differ_between_parts(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path / "train", classes=3)
    write_classes(tmp_path / "test", classes=2, seed=1)
    with pytest.raises(DataError, match=r"class 'class2' is in '.*train' but not in '.*test'"):
        load(tmp_path)
    shutil.rmtree(tmp_path / "train" / "class2")
    (tmp_path / "test" / "extra").mkdir()
    with pytest.raises(DataError, match=r"class 'extra' is in '.*test' but not in '.*train'"):
        load(tmp_path)


def test_a_test_folder_without_labels(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path / "train")
    (tmp_path / "test").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "test" / "a.png")
    with pytest.raises(DataError, match=r"test' has no class subfolders"):
        load(tmp_path)


def test_two_val_folders(tmp_path: Path, write_classes: Write) -> None:
    for name in ("train", "val", "valid"):
        write_classes(tmp_path / name)
    with pytest.raises(DataError, match="both a val set"):
        load(tmp_path)


def test_a_part_that_is_all_damaged_is_not_dealt_anew(tmp_path: Path, write_classes: Write) -> None:
    write_classes(tmp_path / "train", n=100)
    write_classes(tmp_path / "test", n=2, seed=1)
    for path in (tmp_path / "test").rglob("*.png"):
        truncate(path)
    with pytest.raises(DataError, match="none of the test pictures"):
        load(tmp_path)


def test_a_share_of_damage_outside_0_to_1(tmp_path: Path, write_classes: Write) -> None:
    with pytest.raises(OptionError, match="max_damaged=10"):
        load(write_classes(tmp_path), max_damaged=10)


def test_fashion_mnist_as_class_folders(tmp_path: Path, real_data: Path) -> None:
    """Real pictures: what the folder reader gives back is what the IDX files hold."""
    source = load("fashion_mnist", root=real_data / "fashion_mnist", images=300, test_images=100)
    for split, part in {"train": "train", "test": "test"}.items():
        for i, index in enumerate(source.indices[split].tolist()):
            name = source.spec.classes[int(source.labels[index])].replace("/", " or ")
            folder = tmp_path / part / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(source.images[index : index + 1][0, 0].numpy()).save(folder / f"{i}.png")
    task = load(tmp_path, size=28)
    assert task.spec.input_shape == (1, 28, 28)
    assert load(tmp_path).spec.input_shape == (1, 32, 32)
    assert set(contents(task, "test")) == set(contents(source, "test"))
    assert {row for split in SPLITS[:3] for row in contents(task, split)} == set(contents(source, "train"))
