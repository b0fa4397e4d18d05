"""The page: every part of the report, put together into one file that needs no other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archipel.report import architecture_view, curves, distribution, fidelity, frontier, theme
from archipel.report.histogram import histogram
from archipel.report.run_folder import Interval, RunFolder, interval, is_number, read
from archipel.report.wording import count, duration, listed, magnitude, percent, plural, spread

__all__ = ["Table", "awareness_table", "points_table", "write"]

WATCHED = (
    ("collapse", "the controller sending all images to one architecture (few distinct codes, few varying bits)"),
    ("dead window", "hardly any sampled architecture earning a positive reward, so that nothing is learnt"),
    ("batch-norm drift", "the statistics of sampled architectures no longer fitting the thresholded ones"),
)


@dataclass(frozen=True)
class Table:
    """Head cells and rows of text; the first cell of a row names it. `kinds[i]` colours row i's name."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    kinds: list[theme.Kind | None]


def write(run_dir: Path) -> Path:
    """Write `report.html` into a run folder, from the folder's files alone; returns its path.

    The page is one file: no address is loaded, figures are inline SVG, pictures data addresses.

    Raises:
        RunError: the folder holds no finished run, or one of its files is damaged.
    """
    import jinja2

    run = read(run_dir)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("archipel.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("page.html.j2").render(_context(run))
    path = run.path / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _context(run: RunFolder) -> dict[str, Any]:
    shown = distribution.shown_variant(run)
    mapped: theme.Panel | str = "The run kept no architectures of single images, so there is no map."
    strips: tuple[list[distribution.Strip], str] = (
        [],
        "The run kept no architectures of single images, so there are no strips.",
    )
    if shown is not None:
        mapped, strips = distribution.map_panel(run, shown), distribution.strips(run, shown)
    tiny = run.instances is not None and architecture_view.is_tiny(run.instances.images)
    awareness = run.part("awareness").get("sentence")
    alarms = run.rows("alarms")
    return {
        "title": str(run.result.get("title") or "A run of Archipel"),
        "theme_css": theme.css(),
        "headline": frontier.headline(run),
        "awareness": str(awareness) if awareness else None,
        "chips": _chips(run, len(alarms)),
        "frontier": frontier.panels(run),
        "legend": frontier.kinds_legend(run.points),
        "points": points_table(run),
        "notes": _notes(run),
        "awareness_table": awareness_table(run),
        "map": mapped,
        "strips": strips[0],
        "strips_sentence": strips[1],
        "tiny": tiny,
        "histogram": histogram(run),
        "gallery": architecture_view.gallery(run, shown),
        "pretraining": curves.pretraining(run),
        "search": curves.search(run),
        "alarms": _grouped(alarms),
        "alarms_known": isinstance(run.result.get("alarms"), list),
        "watched": WATCHED,
        "fidelity": fidelity.panel(run),
        "fidelity_facts": fidelity.facts(run),
        "command": run.result.get("command"),
        "environment": _environment(run),
        "stages": [
            (str(s.get("name")), duration(float(s["seconds"])))
            for s in run.rows("stages")
            if is_number(s.get("seconds"))
        ],
        "config": run.config,
        "skipped": [
            (str(s.get("path")), str(s.get("why")))
            for s in run.part("task").get("skipped") or []
            if isinstance(s, dict)
        ],
        "missing": run.missing,
    }


def _chips(run: RunFolder, alarms: int) -> list[tuple[str, str, bool]]:
    """(what, value, whether it is a warning)."""
    task, device = run.part("task"), run.part("device")
    chips = []
    if task.get("name"):
        shape = task.get("input_shape")
        size = f", {'×'.join(str(n) for n in shape)}" if isinstance(shape, list) else ""
        chips.append(("task", f"{task['name']}{size}", False))
    if device.get("name"):
        chips.append(("device", str(device["name"]), False))
    threads = device.get("threads") or run.part("environment").get("threads")
    if threads is not None:
        chips.append(("threads", str(threads), False))
    if run.seeds:
        chips.append(("seeds", str(run.seeds), False))
    if is_number(run.result.get("seconds")):
        chips.append(("duration", duration(run.result["seconds"]), False))
    if isinstance(run.result.get("alarms"), list):
        chips.append(("alarms", str(alarms) if alarms else "none", alarms > 0))
    return chips


def _grouped(alarms: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """(kind, where, text) of alarms; those of one kind in one search are one row, which quotes the last of them."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for alarm in alarms:
        key = tuple(str(alarm.get(part, "")) for part in ("kind", "stage", "seed"))
        groups.setdefault(key, []).append(alarm)
    rows = []
    for (kind, stage, seed), members in groups.items():
        epochs = sorted({alarm["epoch"] for alarm in members if isinstance(alarm.get("epoch"), int)})
        where = [stage] if stage else []
        where += [f"seed {seed}"] if seed else []
        where += [f"epoch{'s' if len(epochs) > 1 else ''} {_ranges(epochs)}"] if epochs else []
        text = str(members[-1].get("text") or "")
        if len(members) > 1:
            text = f"{len(members)} times; the last: {text}"
        rows.append((kind or "alarm", ", ".join(where), text))
    return rows


def _ranges(sorted_numbers: list[int]) -> str:
    """`3, 7–12`."""
    runs: list[list[int]] = []
    for number in sorted_numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def points_table(run: RunFolder) -> Table | None:
    """Every point with every figure that at least one point has, kind by kind."""
    if not run.points:
        return None
    columns = [
        ("accuracy", "test accuracy, %", lambda f: spread(f, scale=100)),
        ("table_ms", "table, ms", lambda f: spread(f, digits=3)),
        ("measured_ms", "measured, ms", lambda f: spread(f, digits=3)),
        ("batch_ms", "in a batch, ms", lambda f: spread(f, digits=3)),
        ("madds", "MAdds", lambda f: count(f.mean) if f else "–"),
        ("parameters", "parameters", None),
        ("distinct_share", "distinct architectures", lambda f: percent(f.mean) if f else "–"),
        ("effective_number", "effective number", lambda f: spread(f)),
        ("varying_bits", "varying bits", lambda f: spread(f)),
        ("latency_spread", "slowest / fastest image", lambda f: spread(f, digits=2)),
    ]
    used = [
        (key, title, show)
        for key, title, show in columns
        if any((p.parameters if show is None else p[key]) is not None for p in run.points)
    ]
    order = [*theme.KINDS, *dict.fromkeys(p.kind for p in run.points)]
    points = sorted(run.points, key=lambda p: order.index(p.kind))
    rows = [
        [
            frontier.short_name(p),
            *(
                show(p[key]) if show else ("–" if p.parameters is None else count(p.parameters))
                for key, _, show in used
            ),
        ]
        for p in points
    ]
    caption = "All points, mean ± half of the 95 % interval over seeds" if run.seeds > 1 else "All points, one seed"
    return Table(caption, ["network", *(title for _, title, _ in used)], rows, [theme.kind(p.kind) for p in points])


def _notes(run: RunFolder) -> list[tuple[str, str]]:
    """(the points it is about, note), each note once."""
    grouped: dict[str, list[str]] = {}
    for p in run.points:
        if p.note:
            name, kind = frontier.short_name(p), theme.kind(p.kind).label
            grouped.setdefault(p.note, []).append(kind if kind == name else f"{kind} {name}")
    return [(listed(names), note) for note, names in grouped.items()]


def awareness_table(run: RunFolder) -> Table | None:
    """Own against shuffled architectures, and against one static child of the same latency; None without rows."""
    rows = run.part("awareness").get("rows")
    lines = []
    for row in rows if isinstance(rows, list) else []:
        own, shuffled, static = (interval(row.get(key)) for key in ("accuracy", "shuffled", "static_child"))
        lines.append(
            [
                str(row.get("name", "")),
                spread(own, scale=100),
                spread(shuffled, scale=100),
                _difference(interval(row.get("difference"))),
                spread(static, scale=100),
                _difference(interval(row.get("static_difference"))),
            ]
        )
    if not lines:
        return None
    means = run.part("awareness").get("mean")
    if isinstance(means, dict) and len(lines) > 1:
        pooled = [_difference(interval(means.get(key))) for key in ("shuffled", "static")]
        lines.append(["all variants", "", "", pooled[0], "", pooled[1]])
    head = ["variant", "own architecture, %", "shuffled, %", "own − shuffled", "static child, %", "own − static"]
    caption = "Test accuracy; differences in percentage points, "
    caption += "95 % intervals over seeds in brackets" if run.seeds > 1 else "one seed"
    return Table(caption, head, lines, [theme.kind("instanas")] * len(lines))


def _difference(value: Interval | None) -> str:
    """`+1.2 [+0.3, +2.1]` in percentage points."""
    if value is None:
        return "–"
    ends = (value.mean, value.low, value.high) if value.known else (value.mean,)
    # A mean of -0.02 is shown as 0.0: a sign would claim more than the digits do.
    mean, *rest = (f"{100 * end:+.1f}" if abs(100 * end) >= 0.05 else "0.0" for end in ends)
    return (f"{mean} [{rest[0]}, {rest[1]}]" if rest else mean).replace("-", "−")


def _environment(run: RunFolder) -> list[tuple[str, str]]:
    device, task, space = run.part("device"), run.part("task"), run.part("space")
    rows = [(str(key), _text(value)) for key, value in run.part("environment").items()]
    if device:
        rows.append(("device", _text({k: v for k, v in device.items() if k != "fingerprint"})))
        fingerprint = device.get("fingerprint")
        if isinstance(fingerprint, dict):
            rows += [(f"device, {key}", _text(value)) for key, value in fingerprint.items()]
    if task.get("splits"):
        rows.append(("splits", _text(task["splits"])))
    if space:
        choices = space.get("choices") or []
        size = magnitude(str(space.get("size", "?")))
        rows.append(("space", f"{space.get('name')}, {plural(len(choices), 'choice')}, {size} architectures"))
        if space.get("options"):
            rows.append(("space options", _text(space["options"])))
    rows += [(key, str(run.result[key])) for key in ("preset", "started", "finished") if run.result.get(key)]
    return rows


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(_text(part) for part in value)
    return "not recorded" if value is None else str(value)
