from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from archipel.errors import DataError, OptionError
from archipel.tasks import SPLITS
from archipel.tasks.splits import deal, digest, group, quotas

CLASSES = ("a", "b", "c")


def everything(n: int, **parts: range) -> dict[str, Tensor]:
    return {name: torch.tensor(part) for name, part in ({"train": range(n)} | parts).items()}


def test_shares_when_nothing_is_given() -> None:
    labels = torch.arange(300) % 3
    splits = deal(labels, torch.arange(300), classes=CLASSES, given=everything(300))
    assert {name: len(index) for name, index in splits.items()} == {"train": 150, "arch": 45, "val": 45, "test": 60}
    for index in splits.values():
        assert labels[index].bincount().unique().numel() == 1  # stratified
    assert torch.cat(list(splits.values())).sort().values.equal(torch.arange(300))


def test_shares_beside_a_given_test_set() -> None:
    labels = torch.arange(300) % 3
    given = everything(240, test=range(240, 300))
    splits = deal(labels, torch.arange(300), classes=CLASSES, given=given)
    assert {name: len(index) for name, index in splits.items()} == {"train": 180, "arch": 36, "val": 24, "test": 60}
    assert splits["test"].tolist() == list(range(240, 300))


def test_given_val_and_test_stay() -> None:
    labels = torch.arange(300) % 3
    given = everything(200, val=range(200, 240), test=range(240, 300))
    for seed in range(3):
        splits = deal(labels, torch.arange(300), classes=CLASSES, given=given, seed=seed)
        assert splits["val"].tolist() == list(range(200, 240))
        assert splits["test"].tolist() == list(range(240, 300))
        assert len(splits["arch"]) == 30


def test_a_given_val_set_alone() -> None:
    labels = torch.arange(300) % 3
    splits = deal(labels, torch.arange(300), classes=CLASSES, given=everything(200, val=range(200, 300)))
    assert {name: len(index) for name, index in splits.items()} == {"train": 131, "arch": 30, "val": 100, "test": 39}


def test_copies_of_given_test_images_are_left_out() -> None:
    labels = torch.arange(120) % 3
    groups = torch.arange(120)
    groups[[0, 1]] = 100  # two training images are test image 100
    groups[90] = 101  # a val image is test image 101
    groups[2] = 91  # a training image is a val image
    splits = deal(labels, groups, classes=CLASSES, given=everything(90, val=range(90, 100), test=range(100, 120)))
    assert splits["test"].tolist() == list(range(100, 120))
    assert splits["val"].tolist() == list(range(91, 100))
    assert torch.cat([splits["train"], splits["arch"]]).sort().values.tolist() == list(range(3, 90))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 25)), min_size=60, max_size=160),
    st.sampled_from(["", "test", "val", "both"]),
    st.integers(0, 5),
    st.none() | st.integers(30, 60),
)
def test_splits_never_share_an_image(
    images: list[tuple[int, int]], separated: str, seed: int, limit: int | None
) -> None:
    """Groups go across classes and given parts; whatever is dealt is disjoint and stays within what was given."""
    labels = torch.tensor([label for label, _ in images])
    groups = torch.tensor([identity if identity < 12 else 1000 + i for i, (_, identity) in enumerate(images)])
    n = len(images)
    given = everything(n if not separated else n - 20)
    if separated == "both":
        given |= {"val": torch.arange(n - 20, n - 10), "test": torch.arange(n - 10, n)}
    elif separated:
        given[separated] = torch.arange(n - 20, n)
    try:
        splits = deal(labels, groups, classes=CLASSES, given=given, seed=seed, images=limit)
    except DataError:  # so many copies that a class has too few different images
        return
    seen = [set(groups[splits[name]].tolist()) for name in SPLITS]
    for i, one in enumerate(seen):
        for other in seen[i + 1 :]:
            assert not one & other
    assert all(len(splits[name].unique()) == len(splits[name]) for name in SPLITS)
    if "test" in given:
        assert splits["test"].equal(given["test"])
    if limit is not None:
        assert sum(len(splits[name]) for name in ("train", "arch", "val")) <= limit


@pytest.mark.parametrize("given_test", [False, True])
def test_images_limits_all_but_test_and_takes_the_first_of_each_class(given_test: bool) -> None:
    labels = torch.arange(400) % 2
    given = everything(300, test=range(300, 400)) if given_test else everything(400)
    whole = deal(labels, torch.arange(400), classes=CLASSES[:2], given=given)
    few = deal(labels, torch.arange(400), classes=CLASSES[:2], given=given, images=50)
    assert few["test"].equal(whole["test"])
    chosen = torch.cat([few[name] for name in SPLITS[:3]]).sort().values
    pool = torch.cat([whole[name] for name in SPLITS[:3]]).sort().values
    first = torch.cat([pool[labels[pool] == label][:25] for label in (0, 1)])
    assert chosen.equal(first.sort().values)


def test_images_limits_a_given_val_set_in_proportion() -> None:
    labels = torch.arange(400) % 2
    given = everything(200, val=range(200, 300), test=range(300, 400))
    splits = deal(labels, torch.arange(400), classes=CLASSES[:2], given=given, images=60)
    assert len(splits["val"]) == 20
    assert len(splits["train"]) + len(splits["arch"]) == 40


def test_test_images_limits_test_alone() -> None:
    labels = torch.arange(400) % 2
    splits = deal(labels, torch.arange(400), classes=CLASSES[:2], given=everything(400), test_images=10)
    assert labels[splits["test"]].bincount().tolist() == [5, 5]
    assert sum(len(splits[name]) for name in SPLITS[:3]) == 320


def test_four_images_a_class_are_enough_and_three_are_not() -> None:
    labels = torch.arange(8) % 2
    splits = deal(labels, torch.arange(8), classes=("a", "b"), given=everything(8))
    assert all(labels[splits[name]].bincount().tolist() == [1, 1] for name in SPLITS)
    with pytest.raises(
        DataError, match="class 'b' has 3 different images; it needs at least 4 to be split into train, arch"
    ):
        deal(labels[:7], torch.arange(7), classes=("a", "b"), given=everything(7))


def test_copies_do_not_count_as_images() -> None:
    labels = torch.tensor([0] * 8 + [1] * 8)
    groups = torch.tensor([0, 0, 0, 0, 0, 0, 1, 2, *range(10, 18)])
    with pytest.raises(DataError, match="class 'a' has 3 different"):
        deal(labels, groups, classes=("a", "b"), given=everything(16))
    groups[0] = 3
    splits = deal(labels, groups, classes=("a", "b"), given=everything(16))
    assert all((labels[splits[name]] == 0).any() for name in SPLITS)


def test_too_small_a_limit_is_refused() -> None:
    labels = torch.arange(400) % 2
    with pytest.raises(OptionError, match="at least 6"):
        deal(labels, torch.arange(400), classes=("a", "b"), given=everything(400), images=5)
    assert len(deal(labels, torch.arange(400), classes=("a", "b"), given=everything(400), images=6)["train"]) == 2


@given(st.integers(0, 500), st.lists(st.integers(1, 100), min_size=1, max_size=8), st.integers(0, 3))
def test_quotas_add_up(total: int, weights: list[int], minimum: int) -> None:
    parts = quotas(total, weights, minimum=minimum)
    assert sum(parts) == total
    exact = [total * weight / sum(weights) for weight in weights]
    if total >= minimum * len(weights):
        assert min(parts) >= minimum
    if minimum == 0:
        assert all(abs(part - share) < 1 for part, share in zip(parts, exact))


def test_group_numbers_equal_pictures_equally() -> None:
    pictures = [torch.full((1, 2, 2), i % 3, dtype=torch.uint8).numpy() for i in range(6)]
    assert group(map(digest, pictures)).tolist() == [0, 1, 2, 0, 1, 2]
