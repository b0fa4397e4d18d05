"""`archipel show`: a search space, one network, or a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from archipel.cli.network import architecture_for, input_shape, open_space, space_options
from archipel.cli.output import facts, give, quoted
from archipel.cli.overrides import Whole
from archipel.cost.complexity import layers, madds, parameters
from archipel.errors import OptionError
from archipel.recipes.opening import open_task
from archipel.report.wording import count
from archipel.run.console import Terminal, table
from archipel.run.folder import RunFolder
from archipel.space import Space, count_text

__all__ = ["show"]


def show(
    what: str,
    *,
    architecture: Path | None = None,
    random: Whole | None = None,
    data: str | None = None,
    size: Whole | None = None,
    width: float | None = None,
    option: dict[str, str] | None = None,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> None:
    """Show a search space (choices, options, size), one network of it (layers, parameters, MAdds), or a run.

    Args:
        what: a space, a published network (such as proxyless_cpu), your own file.py:function, or a run folder.
        architecture: a JSON file with the value of every choice: show that network.
        random: show a random network with this seed.
        data: shape the space for this data set.
        size: shape the space for images of this side in pixels.
        width: width multiplier.
        option: further options of the space's function, such as --option.macro cifar.
        json: print it as JSON.
    """
    if Path(what).is_dir():
        if any(value is not None for value in (architecture, random, data, size, width, option)):
            raise OptionError(f"'{what}' is a folder, shown as a run; it takes no option but --json")
        _show_run(RunFolder.open(what, write=False), json)
        return
    task = open_task(data, size=size, progress=Terminal(quiet=True)) if data is not None else None
    space = open_space(what, space_options(option, width=width), task=task, size=size)
    shape = task.spec.input_shape if task else input_shape(space)
    chosen = architecture_for(what, space, architecture, random)
    content = _described(space)
    if chosen is not None:
        network = space.build(chosen)
        rows = layers(network, shape)
        content |= {
            "architecture": chosen.to_json(),
            "input_shape": list(shape),
            "parameters": parameters(network),
            "madds": madds(network, shape),
            "layers": [
                {
                    "layer": row.path,
                    "kind": row.kind,
                    "output": list(row.output_shape),
                    "parameters": row.parameters,
                    "madds": row.madds,
                }
                for row in rows
            ],
        }
    give(content, json, lambda: _show_space(content))


def _described(space: Space) -> dict[str, Any]:
    return {
        "space": space.name,
        "options": space.options,
        "size": str(space.size),
        "code_bits": space.width,
        "choices": [
            {"name": choice.name, "kind": choice.kind, "options": list(choice.options), "empty": choice.empty}
            for choice in space.choices
        ],
    }


def _show_space(content: dict[str, Any]) -> None:
    given = ", ".join(f"{name} {value}" for name, value in content["options"].items())
    scaling = sum(row["parameters"] for row in content.get("layers", ()) if not row["madds"])
    facts(
        f"{content['space']}" + (f" ({given})" if given else ""),
        [
            ("architectures", count_text(int(content["size"]))),
            ("choices", len(content["choices"])),
            ("code bits", content["code_bits"]),
            ("parameters", _number(content.get("parameters"))),
            ("  of layers that only scale or shift", _number(scaling) if scaling else None),
            ("MAdds per image", _number(content.get("madds"))),
        ],
    )
    if "layers" in content:
        print()
        costs = ("parameters", "madds")
        rows = [
            [row["layer"], row["kind"], "×".join(map(str, row["output"])), *(f"{row[n]:,}" for n in costs)]
            for row in content["layers"]
            if row["madds"]
        ]
        table("", ["layer", "kind", "output", "parameters", "MAdds"], rows)
    elif content["choices"]:
        print()
        rows = [[c["name"], c["kind"], ", ".join(map(str, c["options"])), c["empty"]] for c in content["choices"]]
        table("", ["choice", "kind", "options", "when empty"], rows)


def _number(value: int | None) -> str | None:
    return None if value is None else f"{value:,} ({count(value)})"


def _shown(method: str | None) -> Callable[[Mapping[str, Any]], None]:
    """What prints a method's result."""
    if method == "autospace":
        from archipel.cli.evolve import show_spaces

        return show_spaces
    if method == "bench":
        from archipel.cli.bench import show_bench

        return show_bench
    if method == "trials":
        from archipel.cli.trials import show_trials

        return show_trials
    if method == "space_compare":
        from archipel.cli.space import show_comparison

        return show_comparison
    if method == "space_shrink":
        from archipel.cli.space_edit import show_edit

        return show_edit
    from archipel.cli.frontier import show_result

    return show_result


def _show_run(folder: RunFolder, json: bool) -> None:
    training = folder.config.get("recipe") == "train"
    file = "metrics.json" if training else "result.json"
    result = folder.read_json(file) if (folder.path / file).is_file() else None
    again = f"archipel {folder.config.get('recipe', 'run')} --resume {quoted(folder.path)}"
    content = {
        "run": str(folder.path),
        "command": folder.command,
        "started": folder.started,
        "stages": folder.stages,
        "finished": result is not None,
        "resume": None if result is not None else again,
        "result": result,
    }

    def person() -> None:
        pairs = [
            ("command", folder.command),
            ("started", folder.started),
            ("stages done", ", ".join(folder.stages) or "none"),
            ("unfinished", None if result is not None else f"continue with '{again}'"),
        ]
        if result is not None and training:
            scores = [(f"{split} accuracy", f"{100 * result[split]['score']:.2f} %") for split in ("val", "test")]
            pairs += [*scores, ("parameters", count(result["parameters"])), ("MAdds", count(result["madds"]))]
        facts(str(folder.path), pairs)
        if result is not None and not training:
            print()
            _shown(result.get("method"))(result)
        if (folder.path / "report.html").is_file():
            print(f"Report: {folder.path / 'report.html'}")

    give(content, json, person)
