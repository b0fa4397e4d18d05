"""Frozen dataclasses to YAML and back: a settings type is its own schema.

A type here is a frozen dataclass whose fields are `int`, `float`, `bool`, `str`, `Literal`, `X | None`,
`tuple[X, ...]`, `tuple[X, Y]`, `dict[str, Any]` (anything by name) or another such dataclass.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from archipel.errors import ArchipelError, OptionError, did_you_mean

__all__ = ["from_dict", "merge", "over", "read_yaml", "replaced", "to_dict", "to_yaml"]

T = TypeVar("T")


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain nested dicts and lists; `from_dict(type(settings), …)` gives equal settings back."""
    return {field.name: _to_plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def from_dict(cls: type[T], data: Mapping[str, Any], *, source: str = "settings") -> T:
    """Settings of type `cls`; what `data` leaves out has the type's defaults.

    Args:
        source: where `data` comes from, for the error.

    Raises:
        OptionError: an unknown key (with the nearest spelling), a value of another type, a missing key, or
            whatever the settings refuse themselves.
    """
    return _build(cls, {}, data, source, "")


def merge(base: T, changes: Mapping[str, Any], *, source: str = "settings") -> T:
    """`base` with the nested `changes` applied, checked as `from_dict` checks."""
    return _build(type(base), _held(base), changes, source, "")


def over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Plain nested settings with the nested `changes` in their places; nothing is checked."""
    made = dict(base)
    for key, value in changes.items():
        held = made.get(key)
        made[key] = over(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return made


def replaced(stored: Mapping[str, Any], changes: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Where the nested `changes` differ from `stored`: (dotted name, stored, given)."""
    different = []
    for name, value in changes.items():
        held = stored.get(name)
        if isinstance(value, dict) and isinstance(held, dict):
            different += replaced(held, value, f"{prefix}{name}.")
        elif (list(value) if isinstance(value, tuple) else value) != held:
            different.append((f"{prefix}{name}", held, value))
    return different


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        OptionError: the file is missing, no YAML, names a key twice, or holds no mapping.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.load(file, Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise OptionError(f"{path} is no YAML ({where}{problem})") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise OptionError(f"{path} holds no settings: expected 'key: value' lines")
    return content


def to_yaml(document: Mapping[str, Any]) -> str:
    """Plain nested dicts and lists as YAML that gives them back to the letter, keys in their order."""
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """YAML takes three more characters for line ends, and PyYAML writes them bare; quoted, they are escaped."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if any(character in data for character in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with two repairs: `1e-3` is a number, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _held(settings: Any) -> dict[str, Any]:
    """What `settings` (None: nothing) were made from."""
    fields = dataclasses.fields(settings) if settings is not None else ()
    return {field.name: getattr(settings, field.name) for field in fields if field.init}


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    return [_to_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _build(cls: type[T], held: dict[str, Any], data: Any, source: str, prefix: str) -> T:
    """An instance of `cls`: `data` over `held` over the defaults."""
    if not isinstance(data, Mapping):
        raise OptionError(f"'{prefix[:-1]}' in {source} is {data!r}; expected a group of settings")
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise OptionError(f"unknown key '{prefix}{key}' in {source}{did_you_mean(key, fields)}")
    values = dict(held)
    for key, value in data.items():
        hint = hints[key]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            values[key] = _build(hint, _held(held.get(key)), value, source, f"{prefix}{key}.")
        else:
            values[key] = _value(hint, value, source, f"{prefix}{key}")
    for key, field in fields.items():
        bare = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if bare and key not in values:
            raise OptionError(f"{source} lacks the key '{prefix}{key}'")
    try:
        return cls(**values)
    except ArchipelError as error:
        raise type(error)(f"{source}: {error}") from error
    except ValueError as error:
        raise OptionError(f"{source}: {error}") from error


def _value(hint: Any, value: Any, source: str, name: str) -> Any:
    """`value` as the type `hint`. An int is a fine float; nothing else is converted."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        problems = []
        for member in sorted(get_args(hint), key=lambda member: member is not type(None)):
            try:
                return _value(member, value, source, name)
            except OptionError as error:
                problems.append(error)
        if len(problems) == 2:
            raise problems[-1]
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, {}, value, source, f"{name}.")
    elif hint is type(None):
        if value is None:
            return None
    elif origin is Literal:
        if value in get_args(hint) and type(value) in {type(option) for option in get_args(hint)}:
            return value
        options = ", ".join(str(option) for option in get_args(hint))
        raise OptionError(
            f"'{name}' in {source} is {value!r}; choose from {options}{did_you_mean(value, get_args(hint))}"
        )
    elif origin is tuple:
        if isinstance(value, list | tuple):
            members = get_args(hint)
            if members[-1] is Ellipsis:
                members = (members[0],) * len(value)
            if len(members) == len(value):
                return tuple(_value(m, item, source, f"{name}[{i}]") for i, (m, item) in enumerate(zip(members, value)))
    elif origin is dict:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return dict(value)
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise OptionError(f"'{name}' in {source} is {value!r}; expected {_spell(hint)}")


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "nothing"}


def _spell(hint: Any) -> str:
    origin, members = get_origin(hint), get_args(hint)
    if origin is tuple and members[-1] is Ellipsis:
        return f"a list, each {_spell(members[0])}"
    if origin is dict:
        return "settings by name"
    if origin is tuple:
        return f"a list of {len(members)}: {', '.join(_spell(member) for member in members)}"
    if origin in (Union, types.UnionType):
        return " or ".join(_spell(member) for member in members)
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))
