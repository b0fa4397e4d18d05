"""Pictures of any kind become the same numbers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from archipel.deploy.images import Inputs
from archipel.errors import DataError
from archipel.tasks.decoding import decode
from archipel.tasks.pixels import resized

COLOUR = Inputs(3, 6, (100.0, 110.0, 120.0), (50.0, 60.0, 70.0))
GREY = Inputs(1, 6, (100.0,), (50.0,))
PIXELS = torch.randint(0, 256, (5, 3, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
HWC = PIXELS.permute(0, 2, 3, 1).numpy()


def png(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "images",
    [PIXELS, PIXELS.numpy(), HWC, PIXELS.long(), PIXELS / 255, HWC.astype(np.float64) / 255,
     PIXELS.numpy() * np.uint16(257), list(PIXELS), list(HWC), [Image.fromarray(one) for one in HWC],
     [png(one) for one in HWC]],
    ids=["tensor", "NCHW", "NHWC", "int64", "floats", "float64 NHWC", "uint16", "list CHW", "list HWC", "PIL", "bytes"],
)  # fmt: skip
def test_every_kind_and_layout_is_the_same(images: object) -> None:
    assert torch.equal(COLOUR.pixels(images), PIXELS)


def test_one_image_is_a_batch_of_one(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(png(HWC[0]))
    for one in (PIXELS[0], HWC[0], Image.fromarray(HWC[0]), path, str(path), path.read_bytes()):
        assert torch.equal(COLOUR.pixels(one), PIXELS[:1])


def test_greys_in_a_row_are_several_pictures_and_a_file_of_grey_is_one() -> None:
    greys = PIXELS[:, 0]
    assert torch.equal(GREY.pixels(greys), greys[:, None])
    assert torch.equal(GREY.pixels(greys[:3]), greys[:3, None])  # not one picture in colour
    assert torch.equal(GREY.pixels(greys[0]), greys[:1, None])
    assert torch.equal(COLOUR.pixels(png(greys[0].numpy())), greys[:1, None].expand(1, 3, 6, 6))


def test_a_grey_picture_said_in_colour_keeps_every_level() -> None:
    levels = torch.arange(36, dtype=torch.uint8).reshape(6, 6) * 7
    assert torch.equal(GREY.pixels(levels.expand(3, 6, 6).permute(1, 2, 0)), levels[None, None])


def test_normalised_as_in_training() -> None:
    wanted = (PIXELS.float() - torch.tensor(COLOUR.mean)[:, None, None]) / torch.tensor(COLOUR.std)[:, None, None]
    torch.testing.assert_close(COLOUR(PIXELS), wanted)


def test_another_size_is_scaled_as_the_task_scales_it() -> None:
    large = torch.randint(0, 256, (2, 1, 11, 11), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    assert torch.equal(GREY.pixels(large), resized(large, 6))
    wide = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    wanted = decode(io.BytesIO(png(wide)), channels=3, size=6)
    assert torch.equal(COLOUR.pixels(wide), torch.from_numpy(wanted)[None])


def test_orientation_and_transparency() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    assert torch.equal(COLOUR.pixels(png(HWC[0], exif=exif.tobytes())), PIXELS[:1].flip(2, 3))
    clear = np.concatenate([HWC[0], np.zeros((6, 6, 1), np.uint8)], 2)
    for one in (clear, Image.fromarray(clear), png(clear)):
        assert (COLOUR.pixels(one) == 255).all()


def test_the_callers_picture_stays_as_it_was() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(png(np.zeros((4, 8, 3), np.uint8), exif=exif.tobytes())))
    COLOUR.pixels(image)
    assert image.size == (8, 4)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "no image was given"),
        (np.zeros((0, 6, 6, 3), np.uint8), "no image was given"),
        (np.zeros((2, 6, 6, 5), np.uint8), r"shape \[2, 6, 6, 5\]"),
        (np.zeros(36, np.uint8), r"shape \[36\]"),
        (np.zeros((6, 0, 3), np.uint8), "no picture's"),
        (np.full((6, 6), 16.0), "float pixels are from 0 to 1, and the images hold 16"),
        (np.full((6, 6), np.nan), "hold nan"),
        (np.full((6, 6), 256), "from 0 to 255, and the images hold 256"),
        (np.full((6, 6), "a"), "no pixel's type"),
        (b"no picture", "the image cannot be read: it is no picture"),
        ([HWC[0], b"half" + png(HWC[0])[4:40]], "image 1 cannot be read"),
        ("nowhere.png", "'nowhere.png' cannot be read: there is no such file"),
        ([3], "image 0 is a int"),
        (7, "a int is no image"),
        ([HWC], "image 0 holds 5 pictures"),
    ],
)
def test_what_is_no_image_is_one_line(images: object, said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        COLOUR.pixels(images)
    assert "\n" not in str(error.value)
