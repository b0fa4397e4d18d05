"""Options made from settings say only what was given."""

from dataclasses import dataclass

import pytest

from archipel.cli.overrides import given, overriding


@dataclass(frozen=True)
class Search:
    epochs: int = 40
    fix: bool = True


@dataclass(frozen=True)
class Settings:
    search: Search = Search()


def test_nothing_given_is_nothing():
    assert given(overriding(Settings())()) == {}


def test_what_was_given_is_nested():
    made = overriding(Settings())
    search = overriding(Search())
    assert given(made(search=search(epochs=0, fix=False))) == {"search": {"epochs": 0, "fix": False}}


def test_settings_must_be_a_dataclass():
    @dataclass(frozen=True)
    class Empty:
        pass

    assert given(overriding(Empty())()) == {}
    with pytest.raises(TypeError):
        given(3)
