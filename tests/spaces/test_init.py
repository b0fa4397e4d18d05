"""How a space is found: by its listed name, or in the user's own file."""

from __future__ import annotations

import pytest

from archipel.errors import SpaceError
from archipel.space import Space
from archipel.spaces import SPACES, instanas, resolve

OWN = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn

@dataclass(frozen=True)
class Row:
    width: int

def my_space(choose, *, classes=10):
    row = Row(4)
    return nn.Sequential(nn.Linear(3, row.width), choose.op("act", {"relu": nn.ReLU, "tanh": nn.Tanh}))

not_a_function = 3
"""


def test_listed() -> None:
    assert resolve("instanas") is instanas
    assert all(resolve(name) is function for name, function in SPACES.items())
    assert all(name == function.__name__ for name, function in SPACES.items())


def test_own_file(tmp_path) -> None:
    path = tmp_path / "math.py"  # must not hide the module of that name
    path.write_text(OWN)
    assert Space(resolve(f"{path}:my_space")).size == 2
    import math

    assert math.pi > 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("instanass", "there is no space 'instanass' (darts, enas, fbnet, hierarchical, instanas, mobilenet_elastic"),
        ("instanass", "or your own: file.py:function); did you mean 'instanas'?"),
        ("{file}", "names no function; write '{file}:my_space'"),
        ("{folder}/none.py:f", "names the file '{folder}/none.py', which does not exist"),
        ("{file}:my_spase", "has no function 'my_spase'"),
        ("{file}:my_spase", "did you mean 'my_space'?"),
        ("{file}:not_a_function", "has no function 'not_a_function'"),
        ("{folder}/broken.py:f", "broken.py' raised SyntaxError:"),
        ("{folder}/raises.py:f", "raises.py' raised RuntimeError: first"),
        ("{folder}/notes.txt:f", "which is no Python file"),
    ],
)
def test_mistakes(tmp_path, name: str, said: str) -> None:
    names = {"folder": str(tmp_path), "file": str(tmp_path / "own.py")}
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("def f(:")
    (tmp_path / "raises.py").write_text("raise RuntimeError('first\\nsecond')")
    (tmp_path / "notes.txt").write_text("f")
    with pytest.raises(SpaceError) as caught:
        resolve(name.format(**names))
    assert said.format(**names) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_names_that_the_caller_knows_are_said_too() -> None:
    with pytest.raises(SpaceError, match=r"mobilenet_v2, .*, net_of_one, or your own.*; did you mean 'net_of_one'"):
        resolve("net_of_onee", also=["net_of_one"])
