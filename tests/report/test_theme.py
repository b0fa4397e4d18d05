import pytest

from archipel.report import theme


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_contrast(palette: dict[str, str]) -> None:
    for name in ("ink", "soft", "accent"):
        assert contrast(palette[name], palette["paper"]) >= 4.5, name
        assert contrast(palette[name], palette["raised"]) >= 4.5, name
    for kind in theme.KINDS:
        assert contrast(palette[kind], palette["paper"]) >= 3, kind
    for share in (0, 0.25, 0.5, 0.75, 1):
        assert contrast(theme.ramp(share), palette["paper"]) >= 2.8, share


def test_palettes_name_the_same_colours() -> None:
    assert list(theme.LIGHT) == list(theme.DARK) == list(theme.SENTINEL)
    assert len(set(theme.SENTINEL.values())) == len(theme.SENTINEL)


def test_figure_becomes_variables_and_keeps_its_text() -> None:
    fig = theme.figure(200, 100)
    ax = theme.axes(fig, theme.SENTINEL)
    ax.plot([0, 1], [0, 0.1234], color=theme.SENTINEL["accent"])
    ax.set_yticks([0.1234], ["0.1234 <b>"])
    svg = theme.page_svg(fig, name="a", label='x"y<z')
    assert "stroke: var(--accent)" in svg
    assert "#01fe" not in svg
    assert "0.1234 &lt;b&gt;" in svg
    assert 'aria-label="x&#34;y&lt;z"' in svg
    assert "http" not in svg


def test_ids_of_two_figures_differ() -> None:
    import re

    ids = []
    for name in ("one", "two"):
        fig = theme.figure(100, 100)
        ax = theme.axes(fig, theme.SENTINEL)
        ax.plot([0, 1], [0, 1], "o")
        ids.append(set(re.findall(r' id="([^"]+)"', theme.page_svg(fig, name=name, label=""))))
    assert ids[0]
    assert not ids[0] & ids[1]


def test_unknown_kind_has_a_look() -> None:
    look = theme.kind("a_new_kind")
    assert (look.label, look.colour) == ("a new kind", "soft")
    assert not look.ours


def test_a_run_is_for_the_first_of_these_kinds_that_it_has() -> None:
    own = [look.name for look in theme.KINDS.values() if look.ours]
    assert own == ["early_exit", "instanas", "proxylessnas", "trials", "blockdrop", "convnet_aig"]
    assert all(look.noun for look in theme.KINDS.values() if look.ours)
