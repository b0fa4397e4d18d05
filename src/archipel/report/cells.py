"""Cells drawn as graphs: nodes from input to output, an edge for every operator (AutoSpace)."""

from __future__ import annotations

from markupsafe import Markup, escape

from archipel.spaces.cell import IDENTITY, POOL, Cell

__all__ = ["LEGEND", "draw"]

_WIDTH, _HEIGHT = 176, 112
_X = (16, 64, 112, 160)
_Y = 66
_HEIGHTS = {(0, 2): -26, (1, 3): 34, (0, 3): -52}
"""How far above (below 0) or below the line of nodes the middle of an edge's arc is pulled."""
_COLOURS = {3: "o0", 5: "o2", 7: "o4", 9: "o5"}

LEGEND = Markup(
    '<ul class="legend">'
    '<li><svg viewBox="0 0 24 12" style="width:24px" aria-hidden="true"><path d="M0 6h24" style="stroke:var(--faint);'
    'stroke-width:2"/></svg>identity</li>'
    '<li><svg viewBox="0 0 24 12" style="width:24px" aria-hidden="true"><path d="M0 6h24" style="stroke:var(--soft);'
    'stroke-width:2;stroke-dasharray:2 3"/></svg>3×3 average</li>'
    '<li><svg viewBox="0 0 24 12" style="width:24px" aria-hidden="true"><path d="M0 6h24" style="stroke:var(--o0);'
    'stroke-width:2.6"/></svg>depthwise k×k</li>'
    '<li><svg viewBox="0 0 12 12" aria-hidden="true"><path d="M6 1.5a4.5 4.5 0 1 0 .01 0Z" style="fill:var(--accent)"/>'
    "</svg>node with the 1×1 expansion</li></ul>"
)


def draw(cell: Cell) -> Markup:
    """One cell as inline SVG in the page's colours; edges on no path from input to output are not drawn."""
    parts, labels = [], []
    for (j, i), code in cell.live.items():
        x0, x1, pull = _X[j], _X[i], _HEIGHTS.get((j, i), 0)
        style = f"fill:none;stroke:var(--{_COLOURS.get(code, 'o6')});stroke-width:2.6"
        if code == IDENTITY:
            style = "fill:none;stroke:var(--faint);stroke-width:2"
        elif code == POOL:
            style = "fill:none;stroke:var(--soft);stroke-width:2;stroke-dasharray:2 3"
        parts.append(f'<path d="M{x0} {_Y}Q{(x0 + x1) / 2:g} {_Y + 2 * pull} {x1} {_Y}" style="{style}"/>')
        if code != IDENTITY:
            text = "avg" if code == POOL else str(code)
            labels.append(f'<text x="{(x0 + x1) / 2:g}" y="{_Y + pull + 4}">{text}</text>')
    for node, x in enumerate(_X):
        used = any(node in edge for edge in cell.live)
        fill = "accent" if node == cell.dim else "paper"
        stroke = "accent" if node == cell.dim else "ink" if used else "grid"
        parts.append(
            f'<circle cx="{x}" cy="{_Y}" r="6" style="fill:var(--{fill});stroke:var(--{stroke});stroke-width:1.6"/>'
        )
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(spoken(cell))}">{"".join(parts)}'
        f'<g class="ops">{"".join(labels)}</g></svg>'
    )


def spoken(cell: Cell) -> str:
    """The graph in words."""

    def operator(code: int) -> str:
        return {IDENTITY: "identity", POOL: "3×3 average"}.get(code, f"depthwise {code}×{code}")

    edges = ", ".join(f"{j} to {i} {operator(code)}" for (j, i), code in cell.live.items())
    return f"Cell {cell}: {edges}; expansion at node {cell.dim}"
