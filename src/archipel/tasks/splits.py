"""Dealing a data set into train, arch, val and test: stratified, seeded, disjoint.

What the data set already separates stays so: a given test set is the test set, a given val set the val set. Identical
images (one *group*) never land in two splits: of dealt images a group goes to one side as a whole; of a given test
(or val) set's images, copies elsewhere are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from archipel.errors import DataError, OptionError
from archipel.tasks.task import SPLITS

__all__ = ["deal", "digest", "group", "quotas"]

TEST_SHARE = 0.20
VAL_SHARE = 0.15
ARCH_SHARE = 0.15
VAL_SHARE_BESIDE_TEST = 0.10
"""Share of val where the test set is given, so that the shares of the rest are 10 % val, 15 % arch, 75 % train."""


def digest(pixels: np.ndarray | bytes) -> bytes:
    """16 bytes that are equal for equal pixels (of equal shape)."""
    data = pixels if isinstance(pixels, bytes) else np.ascontiguousarray(pixels).tobytes()
    return hashlib.blake2b(data, digest_size=16).digest()


def group(digests: Iterable[bytes]) -> Tensor:
    """`[N]`, int64: equal numbers for equal digests."""
    seen: dict[bytes, int] = {}
    return torch.tensor([seen.setdefault(one, len(seen)) for one in digests], dtype=torch.int64)


def quotas(total: int, weights: Sequence[float], *, minimum: int = 0) -> list[int]:
    """`total` shared out in proportion to `weights` by largest remainder, then nobody below `minimum`."""
    exact = [total * weight / sum(weights) for weight in weights]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    while min(parts) < minimum and max(parts) > minimum:
        parts[parts.index(max(parts))] -= 1
        parts[parts.index(min(parts))] += 1
    return parts


def deal(
    labels: Tensor,
    groups: Tensor,
    *,
    classes: Sequence[str],
    given: Mapping[str, Tensor],
    images: int | None = None,
    test_images: int | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The four splits as positions in `labels`.

    Args:
        labels: `[N]`, int64.
        groups: `[N]`, int64, equal for identical images (`group`).
        given: `"train"`, and `"test"` and `"val"` where the data set separates them: positions in `labels`.
            What is missing is dealt from `"train"`.
        images: at most so many images in train, arch and val together, the first ones of each class.
        test_images: at most so many test images, the first ones of each class.

    Returns:
        `{"train": ..., "arch": ..., "val": ..., "test": ...}`, each `[n]`, int64. Given val and test sets
        keep their order; dealt splits are shuffled.

    Raises:
        DataError: a class has too few different images to be in every split.
        OptionError: `images` or `test_images` is too small.
    """
    generator = torch.Generator().manual_seed(seed)
    pool = given["train"]
    dealt = [name for name in SPLITS if name == "train" or name not in given]
    _check_counts(pool, labels, groups, classes, dealt)
    splits = {name: index for name, index in given.items() if name != "train"}

    if "test" not in splits:
        parts = _stratify(pool, labels, groups, {"pool": 1 - TEST_SHARE, "test": TEST_SHARE},
                          minimum={"pool": len(dealt) - 1, "test": 1}, generator=generator)  # fmt: skip
        pool, splits["test"] = parts["pool"], parts["test"]
        # Back in the data set's order, so that `images` and `test_images` take the first of each class.
        pool = pool.sort().values
        test_is_dealt, shares = True, {"val": VAL_SHARE / (1 - TEST_SHARE), "arch": ARCH_SHARE / (1 - TEST_SHARE)}
    else:
        test_is_dealt, shares = False, {"val": VAL_SHARE_BESIDE_TEST, "arch": ARCH_SHARE}
    if "val" in splits:
        splits["val"] = _without(splits["val"], splits["test"], groups)
        pool = _without(pool, splits["val"], groups)
        del shares["val"]
    pool = _without(pool, splits["test"], groups)

    if test_images is not None:
        if test_images < 1:
            raise OptionError(f"test_images={test_images} leaves no test set; give 1 or more")
        splits["test"] = _first(splits["test"] if not test_is_dealt else splits["test"].sort().values,
                                labels, test_images, minimum=0)  # fmt: skip
    if images is not None:
        pool, splits = _limit(pool, splits, labels, images, classes, parts=len(shares) + 1)
    if test_is_dealt:
        splits["test"] = splits["test"][torch.randperm(len(splits["test"]), generator=generator)]

    _check_counts(pool, labels, groups, classes, ["train", *shares])
    shares["train"] = 1 - sum(shares.values())
    splits |= _stratify(pool, labels, groups, shares, minimum=dict.fromkeys(shares, 1), generator=generator)
    return {name: splits[name] for name in SPLITS}


def _check_counts(pool: Tensor, labels: Tensor, groups: Tensor, classes: Sequence[str], dealt: Sequence[str]) -> None:
    """Every class needs one different image for every split that is dealt."""
    different = np.unique(torch.stack([labels[pool], groups[pool]]).numpy(), axis=1)[0]
    counts = np.bincount(different, minlength=len(classes))
    smallest = int(counts.argmin())
    if counts[smallest] < len(dealt):
        parts = " and ".join([", ".join(dealt[:-1]), dealt[-1]]) if len(dealt) > 1 else dealt[0]
        raise DataError(
            f"class '{classes[smallest]}' has {counts[smallest]} different images; it needs at least "
            f"{len(dealt)} to be split into {parts}"
        )


def _stratify(
    index: Tensor,
    labels: Tensor,
    groups: Tensor,
    shares: Mapping[str, float],
    *,
    minimum: Mapping[str, int],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Deal `index` class by class, a group at a time, the large groups first; each part is shuffled.

    A group belongs to the class of its first image. `minimum` is in groups.
    """
    index = index[torch.randperm(len(index), generator=generator)]
    members: dict[int, list[int]] = {}
    for position, identity in zip(index.tolist(), groups[index].tolist()):
        members.setdefault(identity, []).append(position)
    units_labels = labels[torch.tensor([unit[0] for unit in members.values()], dtype=torch.int64)].tolist()
    by_class: dict[int, list[list[int]]] = {}
    for unit, label in zip(members.values(), units_labels):
        by_class.setdefault(label, []).append(unit)

    names = list(shares)
    parts: dict[str, list[int]] = {name: [] for name in names}
    for label in sorted(by_class):
        units = sorted(by_class[label], key=len, reverse=True)
        wanted = dict(zip(names, quotas(sum(map(len, units)), [shares[name] for name in names])))
        missing = dict(minimum)
        for unit in units:
            name = max(names, key=lambda n: (missing[n] > 0, wanted[n]))
            missing[name] -= 1
            wanted[name] -= len(unit)
            parts[name] += unit
    return {
        name: (part := torch.tensor(parts[name], dtype=torch.int64))[torch.randperm(len(part), generator=generator)]
        for name in names
    }


def _without(index: Tensor, other: Tensor, groups: Tensor) -> Tensor:
    return index[~torch.isin(groups[index], groups[other])]


def _limit(
    pool: Tensor,
    splits: dict[str, Tensor],
    labels: Tensor,
    images: int,
    classes: Sequence[str],
    *,
    parts: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The first `images` of the pool and of a given val set, in proportion."""
    val_is_given = "val" in splits
    least = len(classes) * (parts + val_is_given)
    if images < least:
        raise OptionError(
            f"images={images} is too few: {len(classes)} classes in {parts + val_is_given} splits need at least {least}"
        )
    if not val_is_given:
        return _first(pool, labels, images, minimum=parts), splits
    if images >= len(pool) + len(splits["val"]):
        return pool, splits
    n_val = min(max(round(images * len(splits["val"]) / (len(pool) + len(splits["val"]))), len(classes)),
                images - len(classes) * parts)  # fmt: skip
    limited = _first(splits["val"], labels, n_val, minimum=0)
    return _first(pool, labels, images - n_val, minimum=parts), splits | {"val": limited}


def _first(index: Tensor, labels: Tensor, n: int, *, minimum: int) -> Tensor:
    """The first of each class, `n` in all, in proportion to the classes and in the order of `index`."""
    if n >= len(index):
        return index
    present, counts = labels[index].unique(return_counts=True)
    keep = torch.zeros(len(index), dtype=torch.bool)
    for label, quota in zip(present, quotas(n, counts.tolist(), minimum=minimum)):
        keep[torch.nonzero(labels[index] == label).flatten()[:quota]] = True
    return index[keep]
