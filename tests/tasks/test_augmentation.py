from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from archipel.errors import OptionError
from archipel.tasks import Augmentation, Cutout, Flip, Shift

ALL: list[Augmentation] = [Shift(2), Shift(9), Flip(), Cutout(3), Cutout(8)]
MEAN = torch.tensor([200, 150, 100], dtype=torch.uint8)


def images(n: int = 50, height: int = 7, width: int = 9) -> Tensor:
    """uint8 `[n, 3, height, width]`, no black pixel and none of the mean."""
    values = torch.randint(1, 100, (n, 3, height, width), generator=torch.Generator().manual_seed(0))
    return values.to(torch.uint8)


def run(augment: Augmentation, batch: Tensor, seed: int = 0) -> Tensor:
    return augment(batch, MEAN, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_shape_type_input_and_seed(augment: Augmentation) -> None:
    batch = images()
    before = batch.clone()
    out = run(augment, batch)
    assert out.shape == batch.shape
    assert out.dtype == torch.uint8
    assert batch.equal(before)
    torch.manual_seed(5)
    assert run(augment, batch).equal(out)
    assert not run(augment, batch, seed=1).equal(out)
    assert augment(batch[:0], MEAN, torch.Generator()).shape == (0, 3, 7, 9)


def test_shift_is_a_crop_of_the_padded_image_and_uses_every_offset() -> None:
    batch = images(n=500)
    out = run(Shift(2), batch)
    padded = functional.pad(batch, (2, 2, 2, 2))
    seen = set()
    for image, result in zip(padded, out):
        offsets = [(y, x) for y in range(5) for x in range(5) if image[:, y : y + 7, x : x + 9].equal(result)]
        assert len(offsets) == 1
        seen.add(offsets[0])
    assert len(seen) == 25


def test_flip_mirrors_half_of_the_images() -> None:
    batch = images(n=1000)
    out = run(Flip(), batch)
    mirrored = (out == batch.flip(3)).flatten(1).all(1)
    assert ((out == batch).flatten(1).all(1) ^ mirrored).all()
    assert abs(int(mirrored.sum()) - 500) < 4 * 250**0.5


def test_cutout_fills_one_square_with_the_mean_pixel() -> None:
    batch = images(n=400)
    out = run(Cutout(3), batch)
    covered = (out != batch).all(1)
    assert out.equal(torch.where(covered[:, None], MEAN[:, None, None], batch))
    sizes = set()
    for mask in covered:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        area = (int(rows.max() - rows.min()) + 1) * (int(columns.max() - columns.min()) + 1)
        assert int(mask.sum()) == area  # a filled rectangle
        sizes.add(area)
    assert sizes == {4, 6, 9}  # cut off by an edge or a corner, or whole
    assert covered.any(0).all()  # everywhere


@pytest.mark.parametrize("kind", [Shift, Cutout])
def test_nothing_to_do_is_refused(kind: type) -> None:
    with pytest.raises(OptionError, match="give 1 or more"):
        kind(0)
