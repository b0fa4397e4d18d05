"""The distribution of architectures: its map, and its strips of images from fast to slow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archipel.report import theme
from archipel.report.embedding import embed
from archipel.report.labels import Box, overlap
from archipel.report.run_folder import Instances, RunFolder, Variant
from archipel.report.thumbnails import data_uri, is_tiny
from archipel.report.wording import milliseconds, plural, signed_percent

__all__ = ["Strip", "map_panel", "shown_variant", "strips"]

MAP_POINTS = 2000
STRIP_CLASSES = 20
STRIP_IMAGES = 8


@dataclass(frozen=True)
class Strip:
    """Pictures of one class from fast to slow: (data address, signed difference, colour, spoken label)."""

    name: str
    images: list[tuple[str, str, str, str]]


def shown_variant(run: RunFolder) -> Variant | None:
    """The variant whose images differ most in latency (standard deviation over mean); the figures of images show it."""
    able = [v for v in run.variants.values() if len(v.latency_ms)]
    if run.instances is not None:
        able = [v for v in able if v.name in run.instances.probabilities] or able
    return max(able, key=_relative_spread, default=None)


def _relative_spread(variant: Variant) -> float:
    mean = float(variant.latency_ms.mean())
    return float(variant.latency_ms.std()) / mean if mean else 0.0


def _joined(instances: Instances, variant: Variant) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the instances and of the variant that are the same test image."""
    _, left, right = np.intersect1d(instances.index, variant.index, return_indices=True)
    return left, right


def _shares(latency_ms: np.ndarray) -> np.ndarray:
    """Latency as 0–1 between the 2nd and 98th percentile, so that one outlier does not take the colour scale."""
    low, high = np.percentile(latency_ms, [2, 98])
    return np.clip((latency_ms - low) / (high - low), 0, 1) if high > low else np.full(len(latency_ms), 0.5)


# ---- map --------------------------------------------------------------------------------------------------------


def map_panel(run: RunFolder, variant: Variant) -> theme.Panel | str:
    """The map of a variant's probability vectors, or the sentence why there is none."""
    instances = run.instances
    if instances is None or variant.name not in instances.probabilities:
        return "The run kept no probability vectors, so there is no map."
    left, right = _joined(instances, variant)
    if len(left) > MAP_POINTS:
        keep = np.linspace(0, len(left) - 1, MAP_POINTS).astype(int)
        left, right = left[keep], right[keep]
    if len(left) < 3:
        return "The run kept fewer than three images with an architecture: too few for a map."
    embedding = embed(instances.probabilities[variant.name][left])
    if embedding is None:
        return (
            f"The controller of variant {variant.name} gives every image the same probabilities, "
            "so there is nothing to map."
        )
    latency = variant.latency_ms[right]
    shares = _shares(latency)
    images = instances.images[left]
    label = (
        f"Map of {plural(len(left), 'test image')} by the controller's probabilities, {embedding.method}, "
        "coloured from fast (blue) to slow (red)."
    )
    pictures = []
    for suffix, size, side, limit in (("", (1060, 560), 42, 30), ("-narrow", (340, 400), 28, 14)):
        fig = theme.figure(*size)
        ax = fig.add_axes((0.01, 0.01, 0.98, 0.98))
        ax.set_axis_off()
        x, y = embedding.xy.T
        ax.set_xlim(*_padded(x, 0.16))
        ax.set_ylim(*_padded(y, 0.16))
        order = np.argsort(shares, kind="stable")
        dots = np.column_stack([x, y])[order]
        colours = [theme.ramp(round(s * 24) / 24) for s in shares[order]]
        ax.scatter(
            dots[:, 0], dots[:, 1], c=colours, s=24 if len(left) < 800 else 13, linewidths=0, alpha=0.75, zorder=3
        )
        ax.text(
            0.0,
            0.0,
            f"{embedding.method} of {instances.probabilities[variant.name].shape[1]} probabilities",
            transform=ax.transAxes,
            fontsize=11.5,
            color=theme.SENTINEL["soft"],
            va="bottom",
        )
        spots = ax.transData.transform(embedding.xy)
        extra = _thumbnails(spots, shares, images, size, side, limit) + _scale(latency, size, f"ramp{suffix}")
        pictures.append(theme.page_svg(fig, name=f"map{suffix}", label=label, extra=extra))
    sentence = (
        f"Each dot is one of {plural(len(left), 'test image')}, placed by the probability vector that the "
        f"controller of variant {variant.name} (first seed) gives it ({embedding.detail}); the colour is "
        "the latency of its architecture."
    )
    return theme.Panel("Map of architectures", pictures[0], sentence, pictures[1])


def _scale(latency_ms: np.ndarray, size: tuple[float, float], name: str) -> str:
    """The colour scale, in the figure's lower right corner; SVG."""
    low, high = (milliseconds(float(v)) for v in np.percentile(latency_ms, [2, 98]))
    x, y = size[0] - 158, size[1] - 12
    stops = "".join(f'<stop offset="{i / 2}" stop-color="{theme.ramp(i / 2)}"/>' for i in range(3))
    return (
        f'<linearGradient id="{name}">{stops}</linearGradient>'
        f'<rect x="{x}" y="{y - 12}" width="150" height="6" rx="3" fill="url(#{name})"/>'
        f'<g style="fill:var(--soft);font-size:11.5px"><text x="{x}" y="{y + 8}">{low}</text>'
        f'<text x="{x + 150}" y="{y + 8}" text-anchor="end">{high}</text></g>'
    )


def _padded(values: np.ndarray, share: float) -> tuple[float, float]:
    pad = share * (float(np.ptp(values)) or 1.0)
    return float(values.min()) - pad, float(values.max()) + pad


def _thumbnails(
    spots: np.ndarray, shares: np.ndarray, images: np.ndarray, size: tuple[float, float], side: float, limit: int
) -> str:
    """Pictures beside some of the dots, where they cover few dots and no other picture; SVG.

    Dots are visited far from each other first, so the pictures cover the map and not its densest corner.

    Args:
        spots: `[N, 2]`, pixels, the vertical axis upward.
    """
    width, height = size
    chosen = [int(np.argmin(shares))]
    distance = np.linalg.norm(spots - spots[chosen[0]], axis=1)
    for _ in range(min(3 * limit, len(spots) - 1)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(spots - spots[chosen[-1]], axis=1))
    directions = [(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 12, endpoint=False)]
    reserved: tuple[Box, ...] = ((0, 0, 165, 22), (width - 165, 0, width, 32))
    placed: list[Box] = []
    parts = []
    scale = side / max(images.shape[1:3])
    w, h = images.shape[2] * scale, images.shape[1] * scale
    for i in dict.fromkeys(chosen):
        if len(placed) >= limit:
            break
        best: tuple[float, Box] | None = None
        for reach in (0.9, 1.3, 1.8, 2.5):
            for dx, dy in directions:
                cx, cy = spots[i, 0] + dx * reach * side, spots[i, 1] + dy * reach * side
                box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
                grown = (box[0] - 4, box[1] - 4, box[2] + 4, box[3] + 4)
                if box[0] < 3 or box[1] < 3 or box[2] > width - 3 or box[3] > height - 3:
                    continue
                if any(overlap(grown, other) for other in (*placed, *reserved)):
                    continue
                covered = (
                    (spots[:, 0] > box[0]) & (spots[:, 0] < box[2]) & (spots[:, 1] > box[1]) & (spots[:, 1] < box[3])
                )
                cost = float(covered.sum()) + 4 * reach
                if best is None or cost < best[0]:
                    best = (cost, box)
        if best is None:
            continue
        box = best[1]
        placed.append(box)
        x, y = box[0], height - box[3]
        near_x, near_y = min(max(spots[i, 0], box[0]), box[2]), min(max(spots[i, 1], box[1]), box[3])
        colour = theme.ramp(float(shares[i]))
        parts.append(
            f'<path d="M{spots[i, 0]:.1f} {height - spots[i, 1]:.1f}L{near_x:.1f} {height - near_y:.1f}" '
            f'stroke="{colour}" stroke-width="1" fill="none"/>'
            f'<image class="{"tiny" if is_tiny(images) else "photo"}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" '
            f'height="{h:.1f}" preserveAspectRatio="none" href="{data_uri(images[i])}"/>'
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="none" stroke="{colour}" '
            'stroke-width="1.6"/>'
        )
    return "".join(parts)


# ---- strips -----------------------------------------------------------------------------------------------------


def strips(run: RunFolder, variant: Variant) -> tuple[list[Strip], str]:
    """Images of each class at even steps from its fastest to its slowest, and the sentence under them.

    Differences are to the mean latency over all test images of the variant, as in the published figure.
    """
    instances = run.instances
    if instances is None:
        return [], "The run kept no images, so there are no strips."
    left, right = _joined(instances, variant)
    mean = float(variant.latency_ms.mean())
    latency = variant.latency_ms[right]
    if not len(left):
        return [], "None of the kept images has an architecture, so there are no strips."
    if not np.ptp(variant.latency_ms):
        return [], f"Variant {variant.name} spends the same time on every image, so there is no order to show."
    labels = np.array([variant.label[i] for i in right], dtype=object)
    order = {name: i for i, name in enumerate(run.classes)}
    names = sorted(set(labels), key=lambda n: (order.get(n, len(order)), str(n)))
    sentence = (
        f"Test images of variant {variant.name} (first seed) at even steps of rank from the fastest to the "
        f"slowest of their class; the number is the difference to the mean of {milliseconds(mean)} over all "
        "test images."
    )
    if len(names) > STRIP_CLASSES:
        widest = sorted(names, key=lambda n: -float(np.ptp(latency[labels == n])))[:STRIP_CLASSES]
        sentence += f" Shown are the {STRIP_CLASSES} of {len(names)} classes with the widest range."
        names = [n for n in names if n in widest]
    made = []
    for name in names:
        mine = np.flatnonzero(labels == name)
        mine = mine[np.argsort(latency[mine], kind="stable")]
        picked = mine[np.unique(np.linspace(0, len(mine) - 1, min(STRIP_IMAGES, len(mine))).round().astype(int))]
        shares = _shares(latency)
        images = []
        for i in picked:
            difference = signed_percent(float(latency[i]) / mean - 1)
            colour = theme.ramp(float(shares[i]))
            spoken = f"{name}, {difference} of the mean latency"
            images.append((data_uri(instances.images[left[i]]), difference, colour, spoken))
        made.append(Strip(str(name), images))
    return made, sentence
