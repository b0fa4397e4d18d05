"""Building a wheel: what the demo's page runs networks with is fetched and travels inside."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DemoRuntime(BuildHookInterface):
    """Without npm the wheel is built all the same; `archipel demo` then says what is missing."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # a source checkout fetches it when it is first asked for
            return
        file = Path(self.root, "src", "archipel", "deploy", "web_runtime.py")
        spec = importlib.util.spec_from_file_location("web_runtime", file)
        assert spec is not None
        assert spec.loader is not None
        runtime = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(runtime)
        try:
            runtime.fetch()
        except runtime.RuntimeMissing as error:
            self.app.display_warning(f"the wheel has no browser demo: {error}")
        else:
            build_data["artifacts"].append("/src/archipel/deploy/web/runtime/*")
