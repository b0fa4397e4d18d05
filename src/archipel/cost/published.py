"""Latency tables that others measured and published, as additive costs of our spaces.

A table is named `FILE` or `FILE:DEVICE`. Its kind is told by what is in it:

- ProxylessNAS (Pixel 1): blocks by shape, expansion, kernel, stride and shortcut;
- Once-for-All (Note10): one table an image size, which is its device (`FILE:224`); blocks by shape, inner channels,
  squeeze-and-excitation and h-swish too;
- TF-NAS (GPU and CPU): blocks of any number of inner channels, fitted; negative values, which the fit has at very small
  widths, are 0;
- FBNet: a base and a difference for each layer and operation, whose totals are exact.

Blocks are matched by the shapes of a forward pass. What a table does not list raises; nothing is ever put in its place.
"""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from archipel.cost.additive import AdditiveCost
from archipel.cost.attribution import attribute
from archipel.cost.block_rows import BlockRow, Maps, block_rows
from archipel.errors import TableError, did_you_mean
from archipel.space import Space

__all__ = ["device_figures", "published_cost"]


@dataclass(frozen=True)
class Entry:
    """Milliseconds of one row, and the standard error of that mean (0 where the table states none)."""

    ms: float
    error: float = 0.0


@dataclass(frozen=True)
class BlockTable:
    """Entries by key, and how a row of a network is spelled as one."""

    name: str
    entries: Mapping[str, Entry]
    key: Callable[[BlockRow], str | None]
    """None for what is part of another row."""
    outside: Entry | None = None
    """Everything outside the choices, where the table has one figure for it."""


def published_cost(space: Space, spec: str, input_shape: tuple[int, ...]) -> AdditiveCost:
    """Milliseconds of one image by a published table.

    Args:
        spec: `FILE` or `FILE:DEVICE`. Of Once-for-All's tables that for images of `input_shape` is taken if no device
            is named.
        input_shape: `[C, H, W]`.

    Raises:
        TableError: no such file or device, no table of a known kind, an entry that the table lacks (named), or a space
            whose cost is no sum over its code.
    """
    document, device = _read(spec)
    if _is_fbnet(document):
        return _fbnet(space, spec, document, device)
    table = _block_table(spec, document, device, input_shape)
    return _by_blocks(space, spec, table, input_shape)


def device_figures(path: str | Path) -> dict[str, np.ndarray]:
    """Measured figures of a tabular space: device → values, one an architecture in the file's order.

    Reads `.npz` files with `devices` and `latency_ms` (HELP), or with an array for each device and quantity
    (HW-NAS-Bench: `pixel3_latency_ms`, `fpga_energy_mj`; NaN and -1 stay where the source has no figure).

    Raises:
        TableError: no such file, or none of these kinds.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise TableError(f"there is no table '{path}'") from None
    except (OSError, ValueError) as error:
        raise TableError(f"'{path}' is no .npz file of figures ({error})") from error
    if {"devices", "latency_ms"} <= held.keys():
        names = [str(name, "ascii") if isinstance(name, bytes) else str(name) for name in held["devices"]]
        return dict(zip(names, held["latency_ms"], strict=True))
    figures = {name: values for name, values in held.items() if name.endswith(("_ms", "_mj"))}
    if not figures:
        raise TableError(f"'{path}' holds no figures of devices (it has {', '.join(held) or 'nothing'})")
    return figures


def _read(spec: str) -> tuple[Any, str | None]:
    """The JSON document and the device named behind it."""
    path, device = Path(spec), None
    if not path.is_file():
        name, colon, device = spec.rpartition(":")
        path = Path(name)
        if not colon or not path.is_file():
            raise TableError(f"there is no table '{name if colon else spec}'; give FILE or FILE:DEVICE")
    try:
        raw = path.read_bytes()
        return json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw), device
    except (OSError, EOFError, ValueError) as error:
        raise TableError(f"table '{path}' cannot be read ({error})") from error


def _choose(spec: str, device: str | None, devices: Iterable[str]) -> str:
    known = list(devices)
    if device is None:
        if len(known) == 1:
            return known[0]
        raise TableError(f"table '{spec}' is of several devices ({', '.join(known)}); write '{spec}:{known[0]}'")
    if device not in known:
        raise TableError(
            f"table '{spec.removesuffix(f':{device}')}' has no device '{device}' ({', '.join(known)})"
            f"{did_you_mean(device, known)}"
        )
    return device


# ---- tables by block ----------------------------------------------------------------------------------------------


def _block_table(spec: str, document: Any, device: str | None, input_shape: tuple[int, ...]) -> BlockTable:
    if isinstance(document, dict) and all(isinstance(value, dict) for value in document.values()):
        inner: Mapping[str, Any] = next(iter(document.values()), {})
        if any(key.startswith("expanded_conv-") for key in document):
            device = _choose(spec, device, ["pixel1"])
            return BlockTable(device, {k: _measured(v) for k, v in document.items()}, _proxyless_key)
        if any(key.startswith("expanded_conv-") for key in inner):
            size = str(input_shape[-1]) if device is None else device
            size = _choose(spec, size, document)
            return BlockTable(f"note10:{size}", {k: _measured(v) for k, v in document[size].items()}, _ofa_key)
        if any(key.startswith("MBInvertedResBlock_") for key in inner):
            device = _choose(spec, device, document)
            fitted = dict(document[device])
            base = Entry(float(fitted.pop("base")))
            entries = {
                f"{name}:{hidden}": Entry(max(0.0, ms))
                for name, row in fitted.items()
                for hidden, ms in zip(row["mid_channels"], row["latency_ms"], strict=True)
            }
            return BlockTable(device, entries, _tfnas_key, outside=base)
    raise TableError(f"table '{spec}' is of no kind known here (ProxylessNAS, Once-for-All, TF-NAS, FBNet)")


def _by_blocks(space: Space, spec: str, table: BlockTable, input_shape: tuple[int, ...]) -> AdditiveCost:
    def trace(child: nn.Module) -> list[tuple[str, str]]:
        rows = ((path, table.key(row)) for path, row in block_rows(child, input_shape))
        return [(path, key) for path, key in rows if key is not None]

    held = attribute(space, trace, f"the entries of table '{spec}'")
    parts = [held.base if table.outside is None else Counter[str](), *held.columns]
    missing = sorted({key for part in parts for key in part if key not in table.entries})
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise TableError(f"table '{spec}' has no entry '{missing[0]}'{more} of space '{space.name}'")
    base, *columns = (sum(table.entries[key].ms * n for key, n in part.items()) for part in parts)
    if table.outside is not None:
        base += table.outside.ms
    used = sorted({key for part in parts for key in part})
    errors = torch.tensor(
        [[table.entries[key].error * part[key] for part in parts] for key in used], dtype=torch.float64
    )
    return AdditiveCost(
        space,
        table.name,
        "ms",
        base,
        torch.tensor(columns, dtype=torch.float64),
        errors=errors if errors.any() else None,
    )


def _measured(entry: Mapping[str, float]) -> Entry:
    # ProxylessNAS calls the spread `var`, and its size is that of a standard deviation; which it is, nobody has said.
    # The larger reading is taken.
    spread = entry["std"] if "std" in entry else max(entry["var"], math.sqrt(entry["var"]))
    return Entry(float(entry["mean"]), spread / math.sqrt(entry["count"]))


def _x(maps: Maps) -> str:
    return "x".join(map(str, maps))


def _proxyless_key(row: BlockRow) -> str | None:
    if row.kind == "block":
        expand = row.hidden / row.input[2]
        return (
            f"expanded_conv-input:{_x(row.input)}-output:{_x(row.output)}-expand:{expand:g}"
            f"-kernel:{row.kernel}-stride:{row.stride}-idskip:{int(row.shortcut)}"
        )
    if row.kind == "linear":
        return f"Logits-input:{_x(row.pooled)}-output:{row.output[2]}"
    if row.kind == "pool":
        return None if row.output[:2] == (1, 1) else f"AvgPool2D-input:{_x(row.input)}-output:{_x(row.output)}"
    name = "Conv_1" if row.kernel == 1 else "Conv"
    return f"{name}-input:{_x(row.input)}-output:{_x(row.output)}"


def _ofa_key(row: BlockRow) -> str | None:
    shapes = f"-input:{_x(row.input)}-output:{_x(row.output)}"
    if row.kind == "block":
        return (
            f"expanded_conv{shapes}-expand:{row.hidden}-kernel:{row.kernel}-stride:{row.stride}"
            f"-idskip:{int(row.shortcut)}-se:{int(row.squeezed > 0)}-hs:{int(row.act == 'Hardswish')}"
        )
    if row.kind == "linear":
        return f"Logits-input:{_x(row.input)}-output:{row.output[2]}"
    if row.kind == "pool":
        return f"AvgPool2D{shapes}"
    name = "Conv" if row.kernel > 1 else "Conv_2" if row.input[:2] == (1, 1) else "Conv_1"
    return f"{name}{shapes}"


def _tfnas_key(row: BlockRow) -> str | None:
    if row.kind != "block":
        return f"{row.kind}-input:{_x(row.input)}-output:{_x(row.output)}"
    act = {"ReLU": "relu", "ReLU6": "relu", "SiLU": "swish"}.get(row.act, row.act)
    return (
        f"MBInvertedResBlock_{row.input[0]}_{row.input[2]}_{row.squeezed}_{row.output[2]}"
        f"_k{row.kernel}_s{row.stride}_{act}:{row.hidden}"
    )


# ---- FBNet's differences ------------------------------------------------------------------------------------------


def _is_fbnet(document: Any) -> bool:
    return isinstance(document, dict) and {"ops", "devices"} <= document.keys()


def _fbnet(space: Space, spec: str, document: Mapping[str, Any], device: str | None) -> AdditiveCost:
    device = _choose(spec, device, document["devices"])
    figures = document["devices"][device]
    operations, layers = tuple(document["ops"]), figures["delta_ms"]
    options = {choice.options for choice in space.choices}
    if len(space.choices) != len(layers) or options != {operations}:
        raise TableError(
            f"table '{spec}' is of {len(layers)} layers of {', '.join(operations)}; "
            f"space '{space.name}' has {len(space.choices)} choices that are other ones; give space 'fbnet'"
        )
    columns = torch.tensor(layers, dtype=torch.float64).flatten()
    return AdditiveCost(space, device, "ms", float(figures["base_ms"]), columns)
