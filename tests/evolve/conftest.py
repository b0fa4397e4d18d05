"""The tables that several evolutions are judged by."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# `importmode=importlib` leaves the tests' folder off the path.
_spec = importlib.util.spec_from_file_location("evolve_tables", Path(__file__).with_name("evolve_tables.py"))
assert _spec is not None
assert _spec.loader is not None
sys.modules["evolve_tables"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["evolve_tables"])
