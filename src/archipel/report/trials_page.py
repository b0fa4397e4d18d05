"""What the page of a search by trials shows: how soon, which trainings were worth it, and what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archipel.report import fidelity, frontier_figure, theme
from archipel.report.curves import Line, Question, panels
from archipel.report.run_folder import MILLION, RunFolder, interval, is_number
from archipel.report.tables import Table, points_table
from archipel.report.wording import count, duration, percent, plain, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["WATCHED", "context"]

WATCHED = (
    ("failed trials", "more than one trial in ten that came to nothing"),
    ("too few trials", "a strategy that has nothing new to try before its trials are used up"),
    (
        "within chance",
        "more than half of the other networks within one standard error of the best on validation images",
    ),
)
_SHOWN = 10
"""Most trials of a seed in the table."""
_SIZES = ((520.0, 340.0), (340.0, 290.0))
_COSTS = {
    "latency": ("latency_ms", 1.0, "ms an image, by the latency table"),
    "madds": ("madds", MILLION, "million multiply-adds an image"),
    "parameters": ("parameters", MILLION, "million parameters"),
}
_BEST = (Line("best", "best so far", "accent"),)
_QUESTIONS = tuple(
    Question(
        f"By {what}",
        "validation accuracy, %",
        _BEST,
        f"The best validation accuracy of a training that ran to its end, over {what}.",
        axis=(axis, what),
    )
    for axis, what in (("trials", "trials"), ("epochs", "epochs of training"))
)


def context(run: RunFolder) -> dict[str, Any]:
    """What `trials.html.j2` needs."""
    searches, objectives = run.rows("searches"), [str(name) for name in run.result.get("objectives") or []]
    timed = bool(run.part("fidelity"))
    return {
        "template": "trials.html.j2",
        "frontier": frontier_figure.panels(run) if timed else None,
        "fidelity": fidelity.run_table(run) if timed else None,
        "points": points_table(run),
        "headline": _headline(run, searches),
        "without_verdict": "The run did not say what the search was worth.",
        "nav": [
            ("anytime", "How soon"),
            *([("fronts", "Fronts")] if len(objectives) > 1 else []),
            ("trainings", "Trainings"),
            ("networks", "Networks"),
        ],
        "watched": WATCHED,
        "watched_when": "at the end of the search",
        "anytime": panels([_anytime(one) for one in searches], _QUESTIONS, "anytime"),
        "fronts": [_front(searches, name) for name in objectives[1:] if name in _COSTS],
        "trainings": [made for one in searches if (made := _trainings(one))],
        "trials_tables": [_trials(one, objectives) for one in searches],
        "networks_table": _networks(run),
    }


def _headline(run: RunFolder, searches: Sequence[Mapping[str, Any]]) -> list[str]:
    trials = sum(len(one["trials"]) for one in searches)
    seconds = sum(one["seconds"] for one in searches)
    told = [
        f"The strategy {run.result.get('strategy')} tried {plural(trials, 'network')} with "
        f"{plural(len(searches), 'seed')} ({duration(seconds)} of training)."
    ]
    saved = interval(run.result.get("saved"))
    if saved and run.result.get("stopping") != "none":
        given_up = sum(one["given_up"] for one in searches)
        told.append(f"Given up early: {given_up}, which saved {percent(saved.mean, 0)} of the epochs.")
    return told


def _anytime(one: Mapping[str, Any]) -> dict[str, list[Any]]:
    rows = one.get("anytime") or []
    return {key: [row.get(key) for row in rows] for key in ("trials", "epochs", "best")}


# ---- figures ------------------------------------------------------------------------------------------------------


def _trainings(one: Mapping[str, Any]) -> theme.Panel | None:
    """Every learning curve of one search."""
    rows = [row for row in one["trials"] if row.get("curve")]
    if not rows:
        return None
    sentence = (
        "Validation accuracy of every trial after each epoch: of those that ran to their end, of those that were given "
        "up (pale, with a dot at their end), and of what was found (thick)."
    )
    found, epochs = set(one["found"]), max(len(row["curve"]) for row in rows)

    def draw(ax: Axes, palette: theme.Palette) -> None:
        for place, row in enumerate(one["trials"]):
            curve = row.get("curve") or []
            whole = len(curve) == epochs
            colour = "accent" if place in found else "soft" if whole else "faint"
            wide = 2.2 if place in found else 1.0 if whole else 0.8
            x = range(1, len(curve) + 1)
            ax.plot(x, curve, color=palette[colour], linewidth=wide, zorder=4 if place in found else 3 if whole else 2)
            if curve and not whole:
                ax.plot(len(curve), curve[-1], "o", color=palette["faint"], markersize=2.5, zorder=2)
        ax.set_xlim(1, epochs)
        ax.set_xlabel("epoch")

    return _panel(f"Seed {one['seed']}", sentence, f"trainings-{one['seed']}", draw)


def _front(searches: Sequence[Mapping[str, Any]], name: str) -> theme.Panel:
    """Every trial that ran to its end, by what it costs."""
    key, unit, words = _COSTS[name]
    sentence = (
        "Validation accuracy of every trial that ran to its end, over what its network costs: large those that were "
        "trained again."
    )

    def draw(ax: Axes, palette: theme.Palette) -> None:
        for one in searches:
            rows = [(place, row) for place, row in enumerate(one["trials"]) if row.get("epochs") == _whole(one)]
            for found, colour, size in ((False, "faint", 16.0), (True, "accent", 40.0)):
                shown = [row for place, row in rows if (place in one["found"]) == found]
                x = [row[key] / unit for row in shown]
                ax.scatter(x, [row["valid_accuracy"] for row in shown], s=size, color=palette[colour], linewidths=0)
        ax.set_xlabel(words)

    return _panel(f"Accuracy and {name}", sentence, f"front-{name}", draw)


def _whole(one: Mapping[str, Any]) -> float:
    return float(max(row.get("epochs") or 0.0 for row in one["trials"]))


def _panel(title: str, sentence: str, name: str, draw: Any) -> theme.Panel:
    from matplotlib.ticker import MaxNLocator

    pictures = []
    for size in _SIZES:
        palette = theme.SENTINEL
        fig = theme.figure(*size)
        ax = theme.axes(fig, palette, left=46, right=16, top=26, bottom=42)
        draw(ax, palette)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=name.startswith("trainings")))
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.set_title("validation accuracy, %", loc="left", fontsize=11, color=palette["soft"], pad=8, x=-0.09)
        pictures.append(theme.page_svg(fig, name=f"{name}-{size[0]:.0f}", label=f"{title}: {sentence}"))
    return theme.Panel(title, pictures[0], sentence, pictures[1])


# ---- tables -------------------------------------------------------------------------------------------------------


def _trials(one: Mapping[str, Any], objectives: Sequence[str]) -> Table:
    """The best trials of one seed."""
    whole = _whole(one)
    rows = [(number, row) for number, row in enumerate(one["trials"], 1) if row.get("epochs") == whole]
    rows.sort(key=lambda pair: -pair[1]["valid_accuracy"])
    ms = "latency" in objectives
    head = ["trial", "validation accuracy, %", *(["ms by the table"] if ms else []), "MAdds", "parameters", "network"]
    cells = [
        [
            str(number),
            f"{row['valid_accuracy']:.1f}",
            *([plain(row["latency_ms"])] if ms else []),
            count(row["madds"]),
            count(row["parameters"]),
            _spelt(row["architecture"]),
        ]
        for number, row in rows[:_SHOWN]
    ]
    failed = f", {one['failed']} failed" if one["failed"] else ""
    caption = (
        f"Seed {one['seed']}: the best {len(cells)} of {len(one['trials'])} trials as they were when their training "
        f"ended ({one['whole']} ran to their end, {one['given_up']} were given up{failed}; {one['epochs']:.0f} epochs)"
    )
    return Table(caption, head, cells, [None] * len(cells))


def _networks(run: RunFolder) -> Table:
    """What was trained again, and where it is."""
    rows, kinds = [], []
    for network in run.rows("networks"):
        searched = network.get("searched_accuracy")
        rows.append(
            [
                str(network["name"]),
                f"{searched:.1f}" if is_number(searched) else "–",
                f"{100 * network['val_accuracy']:.1f}",
                f"{100 * network['accuracy']:.1f}",
                str(network["folder"]),
                _spelt(network["architecture"]),
            ]
        )
        kinds.append(theme.kind(str(network["kind"])))
    head = ["network", "validation in its trial, %", "validation, %", "test, %", "folder", "architecture"]
    return Table("Networks that were trained again, from scratch; test images were read once, at the end", head, rows,
                 list(kinds))  # fmt: skip


def _spelt(architecture: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {'+'.join(map(str, value)) or 'none' if isinstance(value, list) else value}"
        for name, value in architecture.items()
    )
