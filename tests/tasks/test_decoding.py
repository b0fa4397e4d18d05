"""A picture is the same picture in whatever mode and file it is kept."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from archipel.errors import DataError
from archipel.tasks.decoding import UNREADABLE, EncodedImages, decode, header, in_threads

GREY = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def rgba() -> Image.Image:
    alpha = np.full((12, 20, 1), 255, np.uint8)
    alpha[:6] = 0
    return Image.fromarray(np.concatenate([COLOUR, alpha], axis=2))


def palette(transparent: bool) -> io.BytesIO:
    image = Image.fromarray(GREY // 60).convert("P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    return saved(image, **({"transparency": 0} if transparent else {}))


WHITE_ABOVE = np.concatenate([np.full((6, 20, 3), 255), COLOUR[6:]])
INDEXED = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]])[GREY // 60]
INDEXED_ON_WHITE = np.array([[255, 255, 255], [200, 0, 0], [0, 200, 0], [0, 0, 200]])[GREY // 60]


@pytest.mark.parametrize(
    ("file", "grey", "expected"),
    [
        (lambda: saved(Image.fromarray(GREY)), True, GREY),
        (lambda: saved(Image.fromarray(GREY), "TIFF"), True, GREY),
        (lambda: saved(Image.fromarray(GREY), "BMP"), True, GREY),
        (lambda: saved(Image.fromarray(GREY > 99)), True, np.where(GREY > 99, 255, 0)),
        (lambda: saved(Image.fromarray(np.stack([GREY, np.full_like(GREY, 255)], axis=2))), True, GREY),
        (lambda: saved(Image.fromarray(np.stack([GREY, np.zeros_like(GREY)], axis=2))), True, GREY * 0 + 255),
        (lambda: saved(Image.fromarray(GREY), transparency=7), True, np.where(GREY == 7, 255, GREY)),
        (lambda: saved(Image.fromarray(GREY.astype(np.uint16) * 257)), True, GREY),
        (lambda: saved(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"), True, GREY),
        (lambda: saved(Image.fromarray(GREY.astype(np.int32) * 257), "TIFF"), True, GREY),
        (lambda: saved(Image.fromarray(GREY), "GIF"), True, GREY),
        (lambda: saved(Image.fromarray(COLOUR)), False, COLOUR),
        (lambda: saved(Image.fromarray(COLOUR), "WEBP", lossless=True), False, COLOUR),
        (lambda: saved(rgba()), False, WHITE_ABOVE),
        (lambda: palette(False), False, INDEXED),
        (lambda: palette(True), False, INDEXED_ON_WHITE),
        (lambda: saved(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"), False, COLOUR),
    ],
    ids=[
        "L", "L tiff", "L bmp", "1", "LA", "LA clear", "L tRNS", "I;16", "I;16 tiff", "I tiff", "grey P", "RGB",
        "RGB webp", "RGBA", "P", "P tRNS", "CMYK",
    ],
)  # fmt: skip
def test_every_mode(file: Callable[[], io.BytesIO], grey: bool, expected: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(file().getvalue())
    assert header(path) == (grey, 20, 12)
    rgb = decode(path, channels=3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert np.array_equal(rgb.transpose(1, 2, 0), np.broadcast_to(np.atleast_3d(expected), (12, 20, 3)))
    if grey:
        assert np.array_equal(decode(path, channels=1)[0], expected)


def test_a_cmyk_jpeg_comes_near() -> None:
    smooth = Image.fromarray(COLOUR).resize((40, 24), Image.Resampling.BILINEAR)
    pixels = decode(saved(smooth.convert("CMYK"), "JPEG", quality=98), channels=3)
    assert np.abs(pixels.transpose(1, 2, 0).astype(int) - np.asarray(smooth)).mean() < 4


def test_float_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="float pixels"):
        decode(saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), channels=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_respected(orientation: int, kind: str) -> None:
    upright = COLOUR
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),  # a viewer turns it clockwise
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    file = saved(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    assert np.array_equal(decode(file, channels=3).transpose(1, 2, 0), upright)


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40), (7, 9), (300, 200), (16, 16)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_any_size_becomes_the_centred_square(width: int, height: int, kind: str) -> None:
    """A ramp over the centred square: after scaling it is still a ramp from end to end."""
    side = min(width, height)
    ramp = np.clip((np.arange(width) - (width - side) // 2) * 255 / (side - 1), 0, 255)
    file = saved(Image.fromarray(np.broadcast_to(ramp, (height, width)).astype(np.uint8)), kind)
    pixels = decode(file, channels=1, size=16)[0]
    assert pixels.shape == (16, 16)
    steps = np.arange(16) * 255 / 15
    assert np.abs(pixels - steps).max() < 20


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_raises_what_unreadable_lists() -> None:
    """Truncated anywhere, or with bytes turned over: a picture or one of `UNREADABLE`, never anything else."""
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM"):
        whole = saved(Image.fromarray(COLOUR), kind).getvalue()
        failures = 0
        for trial in range(60):
            data = bytearray(whole)
            if trial % 2:
                data = data[: rng.integers(0, len(data))]
            else:
                for position in rng.integers(0, len(data), 4):
                    data[position] ^= int(rng.integers(1, 256))
            try:
                decode(io.BytesIO(bytes(data)), channels=3, size=8)
            except UNREADABLE:
                failures += 1
        assert failures > 10, kind


def test_in_threads_keeps_the_order() -> None:
    assert in_threads(lambda i: i * i, list(range(1000))) == [i * i for i in range(1000)]


def test_encoded_images_stand_for_a_tensor(tmp_path: Path) -> None:
    pixels = [np.roll(COLOUR[:12, :12], i, axis=0) for i in range(5)]
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, picture in zip(paths, pixels):
        Image.fromarray(np.ascontiguousarray(picture)).save(path)
    images = EncodedImages(paths, channels=3, size=12)
    tensor = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    assert images.shape == tuple(tensor.shape)
    assert len(images) == 5
    assert images[torch.tensor([3, 0, 3])].equal(tensor[[3, 0, 3]])
    paths[2].unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        images[torch.tensor([2])]
