"""What a finished run leaves for those who use its networks (`archipel.deploy.manifest`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archipel.deploy.manifest import Family, Form, Manifest, Network, Point
from archipel.instance.batch_cost import BatchCost
from archipel.recipes.deployable import manifest_for
from archipel.recipes.instanas.cascade import MADE_OF
from archipel.recipes.instanas.controls import mobilenet_space, upper_stage
from archipel.recipes.instanas.exits import KIND, STATIC, chain_of, exits_space
from archipel.recipes.instanas.judging import Contestant
from archipel.recipes.instanas.stages import ALL, final_name
from archipel.recipes.instanas.study import Study
from archipel.recipes.opening import absolute_space
from archipel.recipes.study import macro_of
from archipel.run.folder import RunFolder
from archipel.space import Space

__all__ = ["manifest_of"]

ORDER = (
    KIND, "instanas", "child_cascade", "mobilenet_cascade", STATIC, "static_child", "static_union", "dearest_child",
    "mobilenet_v2",
)  # fmt: skip
"""As a run reports them; random policies are nobody's to use."""


def manifest_of(
    study: Study,
    everyone: Sequence[Contestant],
    rows: Mapping[str, Mapping[str, Any]],
    device: Mapping[str, Any],
    title: str,
    routing: BatchCost | None,
) -> Manifest:
    """All that a run keeps of its networks, in plain values.

    Args:
        rows: what testing found, by contestant.
        device: as in `result.json`.
        routing: what batches cost, where the run measured that.
    """
    kinds = {(one.kind, one.seed) for one in everyone}
    making = _Making(study, everyone, rows, routing)
    families = [
        getattr(making, _MAKERS.get(kind, "static"))(kind, seed)
        for kind, seed in sorted((k for k in kinds if k[0] in ORDER), key=lambda k: (ORDER.index(k[0]), k[1]))
    ]
    return manifest_for(study.task, title, device, families)


_MAKERS = {KIND: "early_exits", "instanas": "controllers", **dict.fromkeys(MADE_OF, "cascade")}


class _Making:
    def __init__(
        self,
        study: Study,
        everyone: Sequence[Contestant],
        rows: Mapping[str, Mapping[str, Any]],
        routing: BatchCost | None,
    ) -> None:
        self.study, self.everyone, self.rows, self.routing = study, everyone, rows, routing
        settings = study.settings
        self.macro = macro_of(study.space, settings.network)
        self.own = _named(study.folder, study.space)

    def early_exits(self, kind: str, seed: int) -> Family:
        return self._escalating(kind, seed, "exits", [self._network_with_exits(seed, "exits", None)])

    def cascade(self, kind: str, seed: int) -> Family:
        done = self.study.done(f"cascade-{kind}-{seed}")
        return self._escalating(
            kind, seed, "cascade", [self._network(MADE_OF[kind], n, seed) for n in done["networks"]]
        )

    def _escalating(self, kind: str, seed: int, form: Form, networks: Iterable[Network]) -> Family:
        done = self.study.done(f"cascade-{kind}-{seed}")
        points = [_along(name, row) for name, row in done["points"].items()]
        # Runs begun by an earlier version kept no thresholds along the frontier.
        points += [_along(None, row) for row in done["frontier"] if isinstance(row, Mapping)]
        rule = {key: done[key] for key in ("committee", "gains", "costs_ms", "temperatures")}
        return Family(kind, seed, form, tuple(networks), tuple(points), rule=rule)

    def controllers(self, kind: str, seed: int) -> Family:
        study, found = self.study, self.study.done(f"search-{seed}")
        conditioned = study.settings.search.conditioned
        seen = found["choices" if conditioned else "rows"]
        weights = [ALL] if conditioned else list(found["chosen"])
        options = study.space.options
        networks = [Network(self.own, options, final_name(kind, name, seed), name, part="graph") for name in weights]
        points = []
        for number, (name, choice) in enumerate(found["chosen"].items()):
            row = seen[choice]
            ms, asked = self.rows[final_name(kind, name, seed)]["table_ms"], row.get("target_ms")
            points.append(Point(name, ms, row["val_accuracy"], 0 if conditioned else number, asked_ms=asked))
        if conditioned:
            points += [Point(None, row["map_ms"], row["val_accuracy"], asked_ms=row["target_ms"]) for row in seen]
        controller = {
            "kind": study.settings.search.controller,
            "conditioned": conditioned,
            "table": "latency/table.json",
            "routing": None if self.routing is None else _routing(self.routing),
        }
        return Family(kind, seed, "controller", tuple(networks), tuple(points), controller=controller)

    def static(self, kind: str, seed: int) -> Family:
        own = [one for one in self.everyone if (one.kind, one.seed) == (kind, seed)]
        networks = [self._network(kind, one.name, seed) for one in own]
        points = [Point(one.name, self.rows[one.key]["table_ms"], network=i) for i, one in enumerate(own)]
        ordered = sorted(points, key=lambda point: -point.ms)
        return Family(kind, seed, "static", tuple(networks), tuple(ordered))

    def _network(self, kind: str, name: str, seed: int) -> Network:
        """A static one."""
        study, weights = self.study, final_name(kind, name, seed)
        if kind == STATIC:
            return self._network_with_exits(seed, name, int(name) - 1)
        if kind == "mobilenet_v2":
            space = mobilenet_space(study, float(name.removesuffix("x")))
            return Network("mobilenet_v2", space.options, weights, name, architecture={})
        stage = f"static-child-{seed}-{name}" if kind == "static_child" else upper_stage(study, seed, name)
        architecture = study.done(stage)["architecture"]
        return Network(self.own, study.space.options, weights, name, architecture=architecture)

    def _network_with_exits(self, seed: int, name: str, leaves: int | None) -> Network:
        study = self.study
        space = exits_space(study.task, study.settings, self.macro)
        return Network(
            absolute_space(study.settings.exits.space),
            space.options,
            final_name(KIND, ALL, seed),
            name,
            exits=tuple(architecture.to_json() for architecture in chain_of(space, study.task)),
            leaves=leaves,
        )


def _named(folder: RunFolder, space: Space) -> str:
    """What a run's space is resolved by."""
    return str(folder.config.get("space", space.name))


def _along(name: str | None, row: Mapping[str, Any]) -> Point:
    thresholds, shares = tuple(row["thresholds"]), tuple(row["shares"])
    return Point(name, row["val_ms"], row["val_accuracy"], thresholds=thresholds, shares=shares)


def _routing(cost: BatchCost) -> dict[str, Any]:
    return {
        "sizes": cost.sizes,
        "base": cost.base.tolist(),
        "columns": cost.columns.tolist(),
        "weights": cost.weights,
        "doubt": cost.doubt,
    }
