"""Command-line options made from a settings type: the same fields, each with "not given" as its default."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import cyclopts
from cyclopts import Group, Parameter, Token
from docstring_parser import parse_from_object

__all__ = ["Whole", "given", "overriding"]


class _Nothing:
    """The word "none" on the command line, where None itself means that nothing was said."""

    def __repr__(self) -> str:
        return "none"


_NOTHING: Final = _Nothing()


def _whole(type_: Any, tokens: Sequence[Token]) -> int:  # noqa: ARG001
    try:
        return int(tokens[0].value)  # Cyclopts itself rounds "1.5"
    except ValueError:
        raise ValueError(f"'{tokens[0].value}' is no whole number") from None


Whole = Annotated[int, Parameter(converter=_whole)]
"""A whole number."""


def overriding(settings: Any, name: str | None = "default") -> type:
    """A frozen dataclass like `type(settings)` in which every leaf may be None, the default: not given.

    Cyclopts turns nested ones into `--search.epochs`. Help is the field's own docstring with the value in
    `settings` behind it; the first sentence of a nested type's docstring is its heading. A leaf that may be None
    takes the word `none`.

    Args:
        settings: an instance; its values are named in the help.
        name: what the help calls these values; None: it says nothing of them.
    """
    cls = type(settings)
    hints = get_type_hints(cls)
    texts = {item.arg_name: item.description or "" for base in cls.__mro__[::-1] for item in _documented(base)}
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(cls):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            sentence = (inspect.getdoc(value) or "").partition("\n")[0].partition(".")[0]
            group = Group.create_ordered(f"{field.name}: {sentence}".rstrip(": "))
            inner = overriding(value, name)
            fields.append((field.name, Annotated[inner, Parameter(group=group)], dataclasses.field(default=inner())))
            continue
        text = " ".join(texts.get(field.name, "").split())
        hint = hints[field.name]
        parameter = Parameter(
            help=text if name is None else f"{text} [{name}: {_spell(value)}]".strip(),
            consume_multiple=isinstance(value, tuple),
            converter=_converter(hint),
        )
        fields.append((field.name, Annotated[hint | None, parameter], None))
    made = dataclasses.make_dataclass(cls.__name__, fields, frozen=True)
    # make_dataclass says "types", which Cyclopts takes for a built-in type without fields of its own.
    made.__module__ = __name__
    return made


def given(overrides: Any) -> dict[str, Any]:
    """What was given, nested as the settings are."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(overrides):
        value = getattr(overrides, field.name)
        if dataclasses.is_dataclass(value):
            value = given(value) or None
        if value is not None:
            found[field.name] = None if value is _NOTHING else value
    return found


def _documented(cls: type) -> list[Any]:
    return parse_from_object(cls).params if dataclasses.is_dataclass(cls) else []


def _converter(hint: Any) -> Callable[[Any, Sequence[Token]], Any] | None:
    """What reads a leaf where Cyclopts' own way would be wrong: whole numbers, and those that may be none."""
    if hint is int:
        return _whole
    if get_origin(hint) not in (Union, types.UnionType) or type(None) not in get_args(hint):
        return None
    inner: Any = Union[tuple(member for member in get_args(hint) if member is not type(None))]  # noqa: UP007

    def read(type_: Any, tokens: Sequence[Token]) -> Any:
        if len(tokens) == 1 and tokens[0].value.lower() == "none":
            return _NOTHING
        return _whole(type_, tokens) if inner is int else cyclopts.convert(inner, tokens)

    return read


def _spell(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
