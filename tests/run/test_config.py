"""Settings survive YAML, and a wrong key or value is one line that names the file."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from archipel.errors import OptionError
from archipel.run.config import from_dict, merge, read_yaml, replaced, to_dict, to_yaml


@dataclass(frozen=True)
class Search:
    epochs: int = 40
    rate: float = 5e-4
    window: Literal["ours", "paper"] = "ours"
    target: float | None = None
    widths: tuple[float, ...] = (0.5, 1.0)
    size: tuple[int, int] = (8, 8)

    def __post_init__(self):
        if self.epochs < 0:
            raise ValueError("epochs must not be negative")


@dataclass(frozen=True)
class Settings:
    search: Search = field(default_factory=Search)
    augment: bool = True
    name: str = "x"


@dataclass(frozen=True)
class Bare:
    must: int


finite = st.floats(allow_nan=False, allow_infinity=False)


@example(Settings(name="a\x85b\u2028c\u2029d\re\nf"))
@given(
    st.builds(
        Settings,
        search=st.builds(
            Search,
            epochs=st.integers(0, 10**9),
            rate=finite,
            window=st.sampled_from(["ours", "paper"]),
            target=st.none() | finite,
            widths=st.lists(finite).map(tuple),
            size=st.tuples(st.integers(), st.integers()),
        ),
        augment=st.booleans(),
        name=st.text(),
    )
)
def test_round_trip_through_yaml(settings):
    text = to_yaml(to_dict(settings))
    assert from_dict(Settings, yaml.safe_load(text)) == settings


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"serch": {}}, "unknown key 'serch' in my.yaml; did you mean 'search'?"),
        ({"search": {"epoch": 3}}, "unknown key 'search.epoch' in my.yaml; did you mean 'epochs'?"),
        ({"search": {"epochs": "many"}}, "'search.epochs' in my.yaml is 'many'; expected a whole number"),
        ({"search": {"epochs": True}}, "expected a whole number"),
        ({"search": {"epochs": 1.5}}, "expected a whole number"),
        ({"search": {"rate": True}}, "expected a number"),
        ({"search": {"target": "x"}}, "expected a number"),
        ({"search": {"window": "papr"}}, "choose from ours, paper; did you mean 'paper'?"),
        ({"search": {"widths": 0.5}}, "expected a list, each a number"),
        ({"search": {"widths": [0.5, "x"]}}, "'search.widths[1]' in my.yaml is 'x'; expected a number"),
        ({"search": {"size": [1]}}, "expected a list of 2: a whole number, a whole number"),
        ({"search": 3}, "'search' in my.yaml is 3; expected a group"),
        ({"augment": 1}, "expected true or false"),
        ({"name": 1}, "expected text"),
        ({"search": {"epochs": -1}}, "my.yaml: epochs must not be negative"),
    ],
)
def test_mistakes_are_named(data, words):
    with pytest.raises(OptionError) as caught:
        from_dict(Settings, data, source="my.yaml")
    assert words in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(OptionError, match=r"my\.yaml lacks the key 'must'"):
        from_dict(Bare, {}, source="my.yaml")


def test_merge_keeps_what_is_not_changed():
    base = Settings(search=Search(epochs=3, rate=0.1), name="base")
    assert merge(base, {"search": {"rate": 1}}) == Settings(search=Search(epochs=3, rate=1.0), name="base")
    assert merge(base, {}) == base


def test_read_yaml(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: 1e-3\nb: 5.E4\nc: 12\nd: no\ne: -1e5\n")
    assert read_yaml(path) == {"a": 1e-3, "b": 5e4, "c": 12, "d": False, "e": -1e5}
    path.write_text("")
    assert read_yaml(path) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "is no YAML"),
        ("a: 1\nb: 2\na: 3", "line 3: key 'a' stands twice"),
        ("- a", "holds no settings"),
        ("1: a", "holds no settings"),
        ("a: !!python/object/apply:os.getcwd []", "is no YAML"),
    ],
)
def test_bad_yaml_is_one_line(tmp_path, text, words):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=words) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(OptionError, match="No such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(OptionError, match="directory"):
        read_yaml(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match=r"cannot read|no YAML"):
        read_yaml(tmp_path / "b.yaml")


def test_replaced_finds_differences_only():
    stored = {"a": 1, "b": {"c": [1, 2], "d": 2}}
    assert replaced(stored, {"a": 1, "b": {"c": (1, 2)}}) == []
    assert replaced(stored, {"b": {"d": 3, "e": 4}}) == [("b.d", 2, 3), ("b.e", None, 4)]
