import numpy as np

from archipel.report import theme
from archipel.report.labels import Label, overlap, place, uprights


def test_overlap() -> None:
    assert overlap((0, 0, 2, 2), (1, 1, 3, 3)) == 1
    assert overlap((0, 0, 1, 1), (1, 0, 2, 1)) == 0


def test_labels_do_not_cover_each_other() -> None:
    fig = theme.figure(400, 300)
    ax = theme.axes(fig, theme.LIGHT)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    rng = np.random.default_rng(0)
    labels = [Label(x, y, f"point {i}", "#000000") for i, (x, y) in enumerate(rng.uniform(0.3, 0.7, (25, 2)))]
    left_out = place(ax, labels, [])
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) + len(left_out) == 25
    assert len(boxes) > 12
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert overlap((a.x0 + 1, a.y0 + 2, a.x1 - 1, a.y1 - 2), (b.x0, b.y0, b.x1, b.y1)) < 8


def test_names_of_upright_lines_stand_side_by_side_where_close() -> None:
    fig = theme.figure(400, 300)
    ax = theme.axes(fig, theme.LIGHT)
    ax.set_xlim(0, 1)
    uprights(ax, theme.LIGHT, [("far", 0.9), ("b", 0.21), ("a", 0.2)])
    assert len(ax.lines) == 3
    assert [text.get_text() for text in ax.texts] == ["a b", "far"]
    uprights(ax, theme.LIGHT, [("unnamed", 0.5)], named=False)
    assert (len(ax.lines), len(ax.texts)) == (4, 2)
