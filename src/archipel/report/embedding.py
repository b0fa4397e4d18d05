"""Architecture probabilities in two dimensions: UMAP where it is installed, PCA otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Embedding", "embed"]

NEIGHBOURS = 15


@dataclass(frozen=True)
class Embedding:
    """`xy [N, 2]` and how it was made: `method` for the figure, `detail` for the sentence under it."""

    xy: np.ndarray
    method: str
    detail: str


def embed(vectors: np.ndarray) -> Embedding | None:
    """Project `[N, D]` to the plane, the same way for the same vectors.

    The published map (InstaNAS, section "UMAP") uses UMAP on the controller's probabilities, not on the bits.

    Returns:
        None when all vectors are equal or fewer than three: there is nothing to map.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if len(vectors) < 3 or np.ptp(vectors, axis=0).max(initial=0.0) < 1e-6:
        return None
    if len(vectors) > NEIGHBOURS:
        try:
            import umap
        except ImportError:
            return _pca(vectors, "UMAP is not installed")
        model = umap.UMAP(n_components=2, n_neighbors=NEIGHBOURS, random_state=0, n_jobs=1)
        xy = np.asarray(model.fit_transform(vectors), dtype=np.float64)
        return Embedding(xy, "UMAP", f"UMAP with {NEIGHBOURS} neighbours: near means alike, far distances mean little")
    return _pca(vectors, "there are too few images for UMAP")


def _pca(vectors: np.ndarray, why: str) -> Embedding:
    centred = vectors - vectors.mean(axis=0)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    # An SVD fixes directions up to their sign; the largest entry is made positive.
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
    xy = centred @ directions.T
    if xy.shape[1] < 2:
        xy = np.column_stack([xy, np.zeros(len(xy))])
    kept = float((scales[:2] ** 2).sum() / (scales**2).sum())
    return Embedding(xy, "PCA", f"PCA, as {why}: the two directions shown hold {100 * kept:.0f} % of the variance")
