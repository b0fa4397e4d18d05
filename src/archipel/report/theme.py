"""Colours, and how a matplotlib figure becomes an SVG that follows the page's light or dark theme.

A figure is drawn once, in sentinel colours (`SENTINEL`); `page_svg` replaces each sentinel by a CSS variable of
the same name, which `css()` defines for both themes. A plain picture is drawn in `LIGHT` and needs no page.
Figures are laid out in CSS pixels: 72 dots per inch, so one matplotlib point is one pixel.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DARK",
    "KINDS",
    "LIGHT",
    "SENTINEL",
    "Kind",
    "Panel",
    "axes",
    "css",
    "figure",
    "kind",
    "own",
    "page_svg",
    "pixels",
    "plain_svg",
    "ramp",
]

Palette = Mapping[str, str]
"""Colour name → `#rrggbb`."""

# The kinds keep the hues of Okabe and Ito's colour-blind-safe set, darkened or lightened until each has a
# contrast of at least 3:1 on its own paper; the markers differ too, so no figure relies on hue alone.
LIGHT: dict[str, str] = {
    "paper": "#ffffff",
    "raised": "#f5f7f9",
    "ink": "#17202b",
    "soft": "#566270",
    "faint": "#a3adb8",
    "grid": "#e4e8ec",
    "accent": "#0a66b0",
    "tint": "#d5e6f5",
    "early_exit": "#17202b",
    "static_exit": "#566270",
    "instanas": "#0a66b0",
    "proxylessnas": "#0a66b0",
    "trials": "#0a66b0",
    "blockdrop": "#7a4fb0",
    "convnet_aig": "#b0306a",
    "full_network": "#17202b",
    "mobilenet_v2": "#b86800",
    "mobilenet_cascade": "#c4411c",
    "static_child": "#007f60",
    "child_cascade": "#6b7a00",
    "static_union": "#a5487f",
    "dearest_child": "#a5487f",
    "random_policy": "#6f7780",
    "random_architecture": "#6f7780",
    "o0": "#0a66b0",
    "o1": "#3ea0d8",
    "o2": "#b86800",
    "o3": "#c9a20a",
    "o4": "#007f60",
    "o5": "#a5487f",
    "o6": "#c4411c",
    "o7": "#6f7780",
}
DARK: dict[str, str] = {
    "paper": "#10151b",
    "raised": "#19202a",
    "ink": "#e7ebf0",
    "soft": "#a0acb9",
    "faint": "#5d6975",
    "grid": "#27303a",
    "accent": "#62b3f3",
    "tint": "#1b3a55",
    "early_exit": "#e7ebf0",
    "static_exit": "#a0acb9",
    "instanas": "#62b3f3",
    "proxylessnas": "#62b3f3",
    "trials": "#62b3f3",
    "blockdrop": "#b99af0",
    "convnet_aig": "#f288b0",
    "full_network": "#e7ebf0",
    "mobilenet_v2": "#eba33c",
    "mobilenet_cascade": "#f0764f",
    "static_child": "#35c49a",
    "child_cascade": "#b5c832",
    "static_union": "#e08fbe",
    "dearest_child": "#e08fbe",
    "random_policy": "#949ea9",
    "random_architecture": "#949ea9",
    "o0": "#4b9fe6",
    "o1": "#8fd0f7",
    "o2": "#eba33c",
    "o3": "#f0d860",
    "o4": "#35c49a",
    "o5": "#e08fbe",
    "o6": "#f0764f",
    "o7": "#949ea9",
}
SENTINEL: dict[str, str] = {name: f"#01fe{number:02x}" for number, name in enumerate(LIGHT)}

# Fast to slow. The middle is a grey that shows on both papers, so single points need no theme.
_RAMP = ((0x1B, 0x7F, 0xD6), (0x92, 0x8F, 0xA0), (0xDB, 0x48, 0x1D))

# Outlines of markers in a 12 by 12 box.
_DISC = "M6 1.5a4.5 4.5 0 1 0 .01 0Z"
_CROSS = "M3 .8 6 3.8 9 .8 11.2 3 8.2 6l3 3L9 11.2l-3-3-3 3L.8 9l3-3-3-3Z"
_PENTAGON = "M6 .8 11.2 4.6 9.2 10.8H2.8L.8 4.6Z"
_HEXAGON = "M6 1 10.5 3.5v5L6 11 1.5 8.5v-5Z"
_STAR = "M6 .8 7.5 4.3l3.8.3-2.9 2.5.9 3.7L6 8.8 2.7 10.8l.9-3.7L.7 4.6l3.8-.3Z"
_PLUS = "M4 1h4v3h3v4H8v3H4V8H1V4h3Z"


@dataclass(frozen=True)
class Kind:
    """What points of one kind are called and how they look in every figure. `path` is the marker's outline."""

    name: str
    label: str
    marker: str
    path: str
    noun: str = ""
    """What one of them is called in a sentence; without one, sentences leave them out."""
    ours: bool = False
    """Whether a run can be for it; of those that a run has, it was for the first (`own`), all others are baselines."""
    joined: bool = False

    @property
    def colour(self) -> str:
        """The palette's name of this kind's colour."""
        return self.name if self.name in LIGHT else "soft"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("early_exit", "early exits", "P", _PLUS, "early-exit point", ours=True, joined=True),
        Kind("static_exit", "static exit", "d", "M6 .5 9.2 6 6 11.5 2.8 6Z"),
        Kind("instanas", "InstaNAS", "o", _DISC, "InstaNAS variant", ours=True, joined=True),
        Kind("proxylessnas", "ProxylessNAS", "o", _DISC, "ProxylessNAS network", ours=True, joined=True),
        Kind("trials", "found by trials", "o", _DISC, "network found", ours=True),
        Kind("blockdrop", "BlockDrop", "h", _HEXAGON, "BlockDrop variant", ours=True, joined=True),
        Kind("convnet_aig", "ConvNet-AIG", "*", _STAR, "ConvNet-AIG variant", ours=True, joined=True),
        Kind("full_network", "full network", "s", "M2 2h8v8h-8Z"),
        Kind("mobilenet_v2", "MobileNetV2", "s", "M2 2h8v8h-8Z", "MobileNetV2 width", joined=True),
        Kind("mobilenet_cascade", "MobileNetV2 cascade", "p", _PENTAGON, joined=True),
        Kind("static_child", "static child", "^", "M6 1.2 11 10.4H1Z"),
        Kind("child_cascade", "child cascade", "v", "M6 10.8 1 1.6h10Z", joined=True),
        Kind("static_union", "static union", "D", "M6 .8 11.2 6 6 11.2 .8 6Z"),
        Kind("dearest_child", "dearest child", "D", "M6 .8 11.2 6 6 11.2 .8 6Z"),
        Kind("random_policy", "random policy", "X", _CROSS),
        Kind("random_architecture", "random architecture", "X", _CROSS),
    )
}


@dataclass(frozen=True)
class Panel:
    """A figure on the page: its picture for wide and, if it needs another, narrow screens; one sentence under it."""

    title: str
    svg: Markup
    sentence: str
    narrow: Markup | None = None
    legend: Markup | None = None


def kind(name: str) -> Kind:
    """The look of a kind of point; a kind unknown here gets a grey plus and its own name."""
    return KINDS.get(name) or Kind(name, name.replace("_", " "), "P", _PLUS)


def own(kinds: Iterable[str]) -> str | None:
    """Of the kinds of a run's points, in their order, the one that the run was for."""
    return next((name for name in kinds if kind(name).ours), None)


def ramp(share: float) -> str:
    """Colour from fast (0, blue) over grey to slow (1, red)."""
    position = min(max(share, 0.0), 1.0) * (len(_RAMP) - 1)
    left = min(int(position), len(_RAMP) - 2)
    rest = position - left
    return "#" + "".join(f"{round(a + (b - a) * rest):02x}" for a, b in zip(_RAMP[left], _RAMP[left + 1], strict=True))


def css() -> str:
    """The custom properties of both themes: the system's choice, unless `data-theme` on the root says otherwise."""
    light = "".join(f"--{name}:{value};" for name, value in LIGHT.items())
    dark = "".join(f"--{name}:{value};" for name, value in DARK.items())
    ramps = "".join(f"--r{i}:{ramp(i / 2)};" for i in range(3))
    return (
        f":root{{color-scheme:light;{ramps}{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
    )


def figure(width: float, height: float) -> Figure:
    """An empty figure of `width` by `height` pixels with a renderer to measure text, outside pyplot's state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    empty = Figure(figsize=(width / 72, height / 72), dpi=72)
    empty.patch.set_alpha(0.0)
    FigureCanvasAgg(empty)
    return empty


def axes(
    fig: Figure,
    palette: Palette,
    *,
    left: float = 44,
    right: float = 12,
    top: float = 12,
    bottom: float = 40,
    grid: str = "y",
) -> Axes:
    """Axes with margins in pixels, in the house style: no frame, hairline grid, quiet numbers."""
    width, height = fig.get_figwidth() * 72, fig.get_figheight() * 72
    ax = fig.add_axes((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))
    ax.patch.set_alpha(0.0)
    for side, spine in ax.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(palette["faint"])
        spine.set_linewidth(0.8)
    ax.tick_params(length=0, labelsize=11, labelcolor=palette["soft"], pad=5)
    if grid:
        ax.grid(axis=grid, color=palette["grid"], linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    ax.xaxis.label.set_color(palette["soft"])
    ax.yaxis.label.set_color(palette["soft"])
    ax.xaxis.label.set_fontsize(11.5)
    ax.yaxis.label.set_fontsize(11.5)
    return ax


def pixels(fig: Figure) -> tuple[float, float]:
    """Width and height in pixels."""
    return fig.get_figwidth() * 72, fig.get_figheight() * 72


def _svg(fig: Figure, salt: str) -> str:
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "path.simplify_threshold": 0.2}):
        fig.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font:((?: [a-z0-9]+)*?) ([\d.]+)px [^;\"]+", _font, text)  # matplotlib 3.9 and 3.10
    text = re.sub(r"font-family: [^;\"]+; ?", "", text)
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)
    # Six decimals of a pixel are half of the file. Only inside tags: a tick's text keeps all its digits.
    return re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), text)


def _font(match: re.Match[str]) -> str:
    weight = next((word for word in match[1].split() if word.isdigit() or word == "bold"), "")
    return f"font-size: {match[2]}px" + (f"; font-weight: {weight}" if weight else "")


def page_svg(fig: Figure, *, name: str, label: str, extra: str = "") -> Markup:
    """The figure as inline SVG without any address, in the page's colours.

    Args:
        name: unique within the page; keeps the figure's ids apart from those of other figures.
        label: what a person who does not see the picture hears; escaped here.
        extra: SVG put on top, already escaped.
    """
    text = _svg(fig, name)
    text = text[text.index("<svg") :]
    body = text[text.index(">") + 1 :].rstrip()
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    used = set(re.findall(r"[\"(]#([\w.-]+)", body))
    body = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", body)
    for token, sentinel in SENTINEL.items():
        body = body.replace(sentinel, f"var(--{token})")
    body = re.sub(r"<!--.*?-->|<g/>", "", body, flags=re.DOTALL)
    body = re.sub(r"\s*\n\s*", "\n", body)
    width, height = pixels(fig)
    head = (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width * 1.15:.0f}px" role="img" '
        f'aria-label="{escape(label)}">'
    )
    return Markup(head + body.removesuffix("</svg>") + extra + "</svg>")


def plain_svg(fig: Figure, *, name: str) -> str:
    """The figure as a file of its own, text as text in the reader's system font."""
    text = _svg(fig, name)
    return text.replace("<svg ", '<svg font-family="system-ui, -apple-system, Segoe UI, sans-serif" ', 1)
