import sys
import types
from typing import Any

import numpy as np
import pytest

from archipel.report.embedding import embed


@pytest.fixture
def without_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)


@pytest.mark.usefixtures("without_umap")
def test_pca_finds_the_plane_and_fixes_the_sign() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(50, 2)) * [5, 2]
    vectors = plane @ np.linalg.qr(rng.normal(size=(7, 2)))[0].T
    first, second = embed(vectors), embed(vectors[::-1])
    assert first is not None
    assert second is not None
    assert first.method == "PCA"
    assert "UMAP is not installed" in first.detail
    assert "100 % of the variance" in first.detail
    np.testing.assert_allclose(first.xy, second.xy[::-1], atol=1e-9)
    distance = np.linalg.norm(vectors[0] - vectors[1])
    assert np.linalg.norm(first.xy[0] - first.xy[1]) == pytest.approx(distance)


def test_umap_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class UMAP:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def fit_transform(self, vectors: np.ndarray) -> np.ndarray:
            return vectors[:, :2]

    module = types.ModuleType("umap")
    module.UMAP = UMAP  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    vectors = np.random.default_rng(0).random((40, 5))
    embedding = embed(vectors)
    assert embedding is not None
    assert embedding.method == "UMAP"
    assert asked["random_state"] == 0
    few = embed(vectors[:10])
    assert few is not None
    assert few.method == "PCA"
    assert "too few images" in few.detail


def test_nothing_to_map() -> None:
    assert embed(np.ones((20, 4))) is None
    assert embed(np.random.default_rng(0).random((2, 4))) is None


@pytest.mark.usefixtures("without_umap")
def test_one_column() -> None:
    embedding = embed(np.arange(5.0)[:, None])
    assert embedding is not None
    assert embedding.xy.shape == (5, 2)
