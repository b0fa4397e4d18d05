"""A computation's whole state as one file: tensors and what belongs to them, never one without the other."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from archipel.errors import RunError
from archipel.run.atomic import replace

__all__ = ["Checkpoint", "Part", "read_tensors", "write_tensors"]

Part = nn.Module | Optimizer | Mapping[str, Tensor]
"""What a checkpoint can hold. A generator goes in as a mapping: `{"state": generator.get_state()}`."""

_SCHEMA = 1


class Checkpoint:
    """A safetensors file, replaced atomically: a kill or a full disk leaves the previous one.

    `meta` and the optimizers' numbers travel in the file's header, so that they can never disagree with
    the tensors; a checksum of the tensors finds a damaged file. Training continued from a checkpoint equals
    uninterrupted training bit for bit.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Checkpoint({self.path}{'' if self.exists else ', absent'})"

    @property
    def exists(self) -> bool:
        return self.path.is_file()

    def save(self, parts: Mapping[str, Part], meta: Mapping[str, Any]) -> None:
        """Write `parts` and `meta` (anything JSON holds; floats keep every bit) as one file.

        Raises:
            StorageError: the disk is full; the previous checkpoint is whole.
        """
        tensors: dict[str, Tensor] = {}
        layout: dict[str, Any] = {}
        for name, part in parts.items():
            if "/" in name:
                raise ValueError(f"checkpoint part '{name}' has a '/' in its name")
            flat, layout[name] = _flatten(name, part)
            tensors |= {f"{name}/{key}": tensor for key, tensor in flat.items()}
        write_tensors(self.path, tensors, {"schema": _SCHEMA, "parts": layout, "meta": dict(meta)})

    def load(self, parts: Mapping[str, Part]) -> dict[str, Any] | None:
        """Restore `parts` in place and return `meta`; None, with nothing touched, when there is no file.

        Every part is compared with the file before the first one is changed. An empty dict among the parts is
        filled, one with tensors must have the file's keys and shapes.

        Raises:
            RunError: the file is damaged, or was made from other parts.
        """
        if not self.exists:
            return None
        tensors, header = read_tensors(self.path)
        if header.get("schema") != _SCHEMA:
            raise RunError(f"{self.path} is no checkpoint of this version (schema {header.get('schema')!r})")
        layout: dict[str, Any] = header["parts"]
        if layout.keys() != parts.keys():
            raise RunError(f"{self.path} holds the parts {', '.join(layout)}, not {', '.join(parts)}")
        saved = {name: _of_part(tensors, name) for name in parts}
        for name, part in parts.items():
            self._check(name, part, saved[name], layout[name])
        for name, part in parts.items():
            _restore(part, saved[name], layout[name])
        return header["meta"]

    def _check(self, name: str, part: Part, saved: dict[str, Tensor], layout: dict[str, Any]) -> None:
        if layout["kind"] != _kind(part):
            raise RunError(f"part '{name}' of {self.path} is {layout['kind']}, not {_kind(part)}")
        if isinstance(part, Optimizer):
            here = [len(group["params"]) for group in part.param_groups]
            there = [len(group["params"]) for group in layout["groups"]]
            if layout["class"] != type(part).__name__ or here != there:
                raise RunError(
                    f"optimizer '{name}' of {self.path} is {layout['class']} over {there} parameters, "
                    f"not {type(part).__name__} over {here}"
                )
            return
        live = part.state_dict() if isinstance(part, nn.Module) else part
        if isinstance(part, MutableMapping) and not part:
            return
        if missing := sorted(live.keys() ^ saved.keys()):
            where = "only in the file" if missing[0] in saved else "not in the file"
            raise RunError(f"part '{name}' of {self.path} differs in {len(missing)} keys: '{missing[0]}' is {where}")
        for key, tensor in live.items():
            if tensor.shape != saved[key].shape or tensor.dtype != saved[key].dtype:
                raise RunError(f"'{key}' of part '{name}' in {self.path} is {_spell(saved[key])}, not {_spell(tensor)}")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a safetensors file atomically, with `header` as JSON and a checksum of the tensors beside them.

    Raises:
        StorageError: the disk is full; a previous file at `path` is whole.
    """
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        held = tensor.detach().to("cpu").contiguous()
        storage = held.untyped_storage().data_ptr()
        plain[name] = held.clone() if storage in seen else held  # safetensors refuses tied weights
        seen.add(storage)
    text = json.dumps({"checksum": _checksum(plain), **header})
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, safetensors.torch.save(plain, {"archipel": text}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on the CPU) and the header of a file that `write_tensors` made.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get("archipel")
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        header = json.loads(text) if text else None
    except FileNotFoundError:
        raise RunError(f"{path} is missing") from None
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}); delete it to start its stage again") from error
    if header is None:
        raise RunError(f"{path} was not written by archipel: its header holds no 'archipel' entry")
    if header.pop("checksum", None) != _checksum(tensors):
        raise RunError(f"{path} is damaged (its checksum differs); delete it to start its stage again")
    return tensors, header


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(name.encode(), value)
        if tensors[name].numel():
            value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return value


def _kind(part: Part) -> str:
    if isinstance(part, nn.Module):
        return "a module"
    return "an optimizer" if isinstance(part, Optimizer) else "tensors"


def _flatten(name: str, part: Part) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The part's tensors by key, and its JSON-able rest."""
    if not isinstance(part, Optimizer):
        flat = dict(part.state_dict() if isinstance(part, nn.Module) else part)
        if strange := [key for key, value in flat.items() if not isinstance(value, Tensor)]:
            raise TypeError(f"'{strange[0]}' of checkpoint part '{name}' is no tensor; put it into meta")
        return flat, {"kind": _kind(part)}
    state = part.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        scalars[str(index)] = {}
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"state.{index}.{key}"] = value
            else:
                scalars[str(index)][key] = _json_safe(value)
    groups = []
    for i, group in enumerate(state["param_groups"]):
        tensors |= {f"group.{i}.{key}": value for key, value in group.items() if isinstance(value, Tensor)}
        groups.append({key: _json_safe(v) for key, v in group.items() if not isinstance(v, Tensor)})
    return tensors, {"kind": _kind(part), "class": type(part).__name__, "state": scalars, "groups": groups}


def _restore(part: Part, saved: dict[str, Tensor], layout: dict[str, Any]) -> None:
    if isinstance(part, nn.Module):
        part.load_state_dict(saved)
    elif isinstance(part, Optimizer):
        part.load_state_dict(_optimizer_state(part, saved, layout))
    elif isinstance(part, MutableMapping) and not part:
        part.update(saved)
    else:
        with torch.no_grad():
            for key, tensor in part.items():
                tensor.copy_(saved[key])


def _optimizer_state(part: Optimizer, saved: dict[str, Tensor], layout: dict[str, Any]) -> dict[str, Any]:
    """The state dict that `_flatten` took apart."""
    state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in layout["state"].items()}
    groups = [dict(group) for group in layout["groups"]]
    for key, tensor in saved.items():
        kind, index, entry = key.split(".", 2)
        (state if kind == "state" else groups)[int(index)][entry] = tensor
    for live, group in zip(part.param_groups, groups, strict=True):
        for key, value in group.items():
            if isinstance(live.get(key), tuple):
                group[key] = tuple(value)  # Adam's betas: JSON knows no tuples
    return {"state": state, "param_groups": groups}


def _json_safe(value: Any) -> Any:
    # json writes a float as the shortest text that reads back to the same bits; inf and nan survive too
    if value is None or isinstance(value, bool | int | float | str | list | tuple):
        return value
    raise TypeError(f"an optimizer's state holds a {type(value).__name__}; only tensors and numbers are kept")


def _of_part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _spell(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
