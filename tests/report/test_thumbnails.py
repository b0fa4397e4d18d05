import base64
import io

import numpy as np
from PIL import Image

from archipel.report.thumbnails import SIDE, data_uri


def picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_small_pictures_are_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(picture(data_uri(image)).convert("RGB")), image)
    grey = image[..., :1].repeat(3, axis=2)
    assert picture(data_uri(grey)).mode == "L"


def test_large_pictures_shrink_in_proportion() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 100, 3), dtype=np.uint8)
    assert picture(data_uri(image)).size == (SIDE // 2, SIDE)
