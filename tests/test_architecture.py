"""An architecture is a value: immutable, hashable, JSON-able, and the same in every process."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archipel.architecture import Architecture
from archipel.errors import ArchitectureError

NAMES = st.text(min_size=1, max_size=6)
VALUES = (
    NAMES
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.lists(NAMES, max_size=4).map(tuple)
    | st.lists(st.integers(0, 20), max_size=4).map(tuple)
)
ASSIGNMENTS = st.dictionaries(NAMES, VALUES, max_size=6)


@given(ASSIGNMENTS)
def test_json_is_the_identity(assignment: dict) -> None:
    architecture = Architecture(assignment)
    text = json.dumps(architecture.to_json())
    for again in (Architecture.from_json(text), Architecture.from_json(json.loads(text))):
        assert again == architecture
        assert hash(again) == hash(architecture)
        assert again.key == architecture.key


@given(ASSIGNMENTS)
def test_order_and_spelling_do_not_matter(assignment: dict) -> None:
    architecture = Architecture(assignment)
    other = Architecture({n: list(v) if isinstance(v, tuple) else v for n, v in reversed(assignment.items())})
    assert (other, hash(other), other.key) == (architecture, hash(architecture), architecture.key)
    assert other == Architecture(other)


@given(ASSIGNMENTS, ASSIGNMENTS)
def test_equal_exactly_when_the_keys_are(first: dict, second: dict) -> None:
    a, b = Architecture(first), Architecture(second)
    assert (a == b) == (a.key == b.key) == (first == second)


def test_equal_numbers_have_one_key() -> None:
    whole, real = Architecture(width=1), Architecture(width=1.0)
    assert whole == real
    assert hash(whole) == hash(real)
    assert whole.key == real.key
    assert Architecture(width=1.5).key != real.key


def test_key_and_hash_in_another_process() -> None:
    text = json.dumps({"s1.l0": "e6_k5", "s1.l1": ["a", "b"], "in": [0, 2], "width": 0.5, "é": "ü"})
    program = (
        "import sys; from archipel.architecture import Architecture as A; "
        "a = A.from_json(sys.argv[1]); print(a.key, hash(a), 'torch' in sys.modules)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, text],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = Architecture.from_json(text)
    assert outputs == {f"{here.key} {hash(here)} False\n"}
    assert here.key == "358b15c489c9", "a stored key has to keep its meaning"


def test_it_is_a_mapping() -> None:
    architecture = Architecture({"s1.l0": "e6_k5", "s1.l1": ["a", "b"]})
    assert dict(architecture) == {"s1.l0": "e6_k5", "s1.l1": ("a", "b")}
    assert list(architecture) == ["s1.l0", "s1.l1"]
    assert len(architecture) == 2
    assert "s1.l2" not in architecture
    assert eval(repr(architecture)) == architecture
    assert architecture != dict(architecture)
    assert architecture.replace(l2="x") == Architecture({**architecture, "l2": "x"})


def test_it_cannot_be_changed() -> None:
    architecture = Architecture(a="x")
    with pytest.raises(AttributeError, match="an Architecture cannot be changed"):
        architecture.a = "y"
    with pytest.raises(TypeError):
        architecture["a"] = "y"  # type: ignore[index]
    source = {"a": ["x"]}
    architecture = Architecture(source)
    source["a"].append("y")
    assert architecture["a"] == ("x",)


def test_it_can_be_copied() -> None:
    architecture = Architecture(a=["x"], b=2)
    assert copy.copy(architecture) == copy.deepcopy(architecture) == architecture


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ({"a": None}, "choice 'a' is set to None; give an option's name, a number, or a list"),
        ({"a": True}, "choice 'a' is set to True; give an option's name or a number"),
        ({"a": ["x", 1]}, "choice 'a' is set to ['x', 1]"),
        ({"a": [True]}, "choice 'a' is set to [True]"),
        ({"a": {"b": 1}}, "choice 'a' is set to {'b': 1}"),
        ({"a": float("nan")}, "choice 'a' is set to nan; give a finite number"),
        ({3: "x"}, "choice names are strings, not 3"),
    ],
)
def test_what_is_no_assignment(assignment: dict, said: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        Architecture(assignment)
    assert said in str(caught.value)


def test_what_is_no_json_of_one() -> None:
    with pytest.raises(ArchitectureError, match="a JSON object of choices; this text is none"):
        Architecture.from_json("{")
    with pytest.raises(ArchitectureError, match="a JSON object of choices, not list"):
        Architecture.from_json("[1]")
