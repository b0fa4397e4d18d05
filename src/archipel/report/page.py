"""The page: every part of the report, put together into one file that needs no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from archipel.errors import RunError
from archipel.report import (
    bench_page,
    evolve_page,
    frontier,
    frontier_figure,
    instance_page,
    pipeline_page,
    search_page,
    skipping_page,
    spaces_page,
    theme,
    trials_page,
)
from archipel.report.run_folder import RunFolder, is_number, read
from archipel.report.tables import notes, points_table
from archipel.report.wording import duration, magnitude, plural, ranges

__all__ = ["PAGES", "write"]

PAGES: dict[str, Callable[[RunFolder], dict[str, Any]]] = {
    "instanas": instance_page.context,
    "proxylessnas": search_page.context,
    "blockdrop": skipping_page.context,
    "convnet_aig": skipping_page.context,
    "autospace": evolve_page.context,
    "pipeline": pipeline_page.context,
    "space_compare": spaces_page.context,
    "bench": bench_page.context,
    "trials": trials_page.context,
}
"""Method → what its own part of the page needs: its `template`, the `nav` entries and everything these show."""


def write(run_dir: Path) -> Path:
    """Write `report.html` into a run folder, from the folder's files alone; returns its path.

    The page is one file: no address is loaded, figures are inline SVG, pictures data addresses.

    Raises:
        RunError: the folder holds no finished run, one of a method without a page, or one of its files is damaged.
    """
    import jinja2

    run = read(run_dir)
    if run.method not in PAGES:
        known = ", ".join(PAGES)
        raise RunError(f"'{run.path}' is a run of method '{run.method}', which has no report (there are: {known})")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("archipel.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    context = _context(run)
    page = environment.get_template(context["template"]).render(context)
    path = run.path / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _context(run: RunFolder) -> dict[str, Any]:
    awareness = run.part("awareness").get("sentence")
    alarms = run.rows("alarms")
    return {
        "title": str(run.result.get("title") or "A run of Archipel"),
        "theme_css": theme.css(),
        "headline": frontier.headline(run),
        "verdict": str(awareness) if awareness else None,
        "chips": _chips(run, len(alarms)),
        "frontier": frontier_figure.panels(run),
        "legend": frontier_figure.kinds_legend(run.points),
        "points": points_table(run),
        "notes": notes(run),
        "alarms": _grouped(alarms),
        "alarms_known": isinstance(run.result.get("alarms"), list),
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
        **PAGES[run.method](run),
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
        where += [f"epoch{'s' if len(epochs) > 1 else ''} {ranges(epochs)}"] if epochs else []
        text = str(members[-1].get("text") or "")
        if len(members) > 1:
            text = f"{len(members)} times; the last: {text}"
        rows.append((kind or "alarm", ", ".join(where), text))
    return rows


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
