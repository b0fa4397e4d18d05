"""Which epochs become A, B, C …"""

from __future__ import annotations

import pytest

from archipel.errors import OptionError
from archipel.instance.variants import choose_variants


def rows(*points: tuple[float, float]) -> list[dict[str, float]]:
    """(latency, accuracy) of each epoch."""
    return [{"epoch": i, "map_ms": ms, "val_accuracy": accuracy} for i, (ms, accuracy) in enumerate(points)]


def test_a_is_the_slowest_and_most_accurate() -> None:
    search = rows((5.0, 0.95), (4.0, 0.93), (3.0, 0.90), (2.0, 0.85), (1.0, 0.70))
    assert choose_variants(search, 5, validation_images=10_000) == {"A": 0, "B": 1, "C": 2, "D": 3, "E": 4}


def test_the_order_of_epochs_does_not_matter() -> None:
    search = rows((1.0, 0.70), (5.0, 0.95), (3.0, 0.90))
    assert choose_variants(search, 3, validation_images=10_000) == {"A": 1, "B": 2, "C": 0}


def test_an_epoch_that_another_beats_in_both_is_left_out_where_its_part_has_a_better_one() -> None:
    search = rows((5.0, 0.95), (3.5, 0.80), (3.0, 0.90), (1.0, 0.70))
    assert list(choose_variants(search, 3, validation_images=10_000).values()) == [0, 2, 3]


def test_a_beaten_epoch_stands_in_for_a_part_without_better_ones() -> None:
    search = rows((5.0, 0.95), (4.0, 0.80), (3.9, 0.81), (3.0, 0.90), (1.0, 0.70))
    assert choose_variants(search, 4, validation_images=10_000) == {"A": 0, "B": 2, "C": 3, "D": 4}


def test_epochs_outside_the_range_of_the_front_do_not_count() -> None:
    search = rows((9.0, 0.90), (5.0, 0.95), (1.0, 0.70))
    assert choose_variants(search, 2, validation_images=10_000) == {"A": 1, "B": 2}


def test_worse_by_less_than_a_standard_error_is_not_beaten() -> None:
    search = rows((2.0, 0.90), (3.0, 0.89))
    assert choose_variants(search, 2, validation_images=100) == {"A": 1, "B": 0}  # standard error 0.03
    assert choose_variants(search, 2, validation_images=10_000) == {"A": 0}


def test_equal_parts_of_the_latency_range_give_their_most_accurate() -> None:
    search = rows((10.0, 0.9), (9.0, 0.899), (6.0, 0.88), (5.0, 0.87), (1.0, 0.5), (1.5, 0.55))
    assert choose_variants(search, 2, validation_images=10**6) == {"A": 0, "B": 3}
    assert choose_variants(search, 3, validation_images=10**6) == {"A": 0, "B": 2, "C": 5}


def test_the_name_of_an_empty_part_is_missing() -> None:
    """So that C is about as fast in every seed."""
    search = rows((10.0, 0.9), (9.9, 0.89), (5.0, 0.7), (1.0, 0.5))
    assert choose_variants(search, 5, validation_images=10**6) == {"A": 0, "C": 2, "E": 3}


def test_names_go_from_slow_to_fast() -> None:
    search = rows(*((10.0 - i * i / 10, 0.9 - i / 50) for i in range(10)))
    found = choose_variants(search, 4, validation_images=10**6)
    assert list(found) == sorted(found)
    assert [search[epoch]["map_ms"] for epoch in found.values()] == sorted(
        (search[epoch]["map_ms"] for epoch in found.values()), reverse=True
    )


def test_one_epoch() -> None:
    assert choose_variants(rows((3.0, 0.5)), 5, validation_images=100) == {"A": 0}


def test_of_equals_the_faster_then_the_earlier() -> None:
    assert choose_variants(rows((3.0, 0.5), (3.0, 0.5)), 1, validation_images=100) == {"A": 0}
    assert choose_variants(rows((3.0, 0.5), (2.0, 0.5)), 1, validation_images=100) == {"A": 1}


class TestTarget:
    search = rows((5.0, 0.95), (4.0, 0.94), (3.9, 0.60), (3.0, 0.90), (1.0, 0.70))

    def test_the_most_accurate_epoch_within_it_is_always_there(self) -> None:
        without = choose_variants(self.search, 2, validation_images=10**6)
        found = choose_variants(self.search, 2, validation_images=10**6, target_ms=4.0)
        assert 1 not in without.values()
        assert found == {**without, "C": 1}

    def test_one_that_is_there_already_keeps_its_name(self) -> None:
        without = choose_variants(self.search, 2, validation_images=10**6)
        assert choose_variants(self.search, 2, validation_images=10**6, target_ms=6.0) == without

    def test_one_that_no_epoch_meets_changes_nothing(self) -> None:
        without = choose_variants(self.search, 2, validation_images=10**6)
        assert choose_variants(self.search, 2, validation_images=10**6, target_ms=0.5) == without


def test_letters_do_not_run_out() -> None:
    many = rows(*((30.0 - i, 0.9 - i / 100) for i in range(30)))
    found = choose_variants(many, 25, validation_images=10**6, target_ms=29.0)
    assert found["Z"] == 1
    assert len(found) == 26
    with pytest.raises(OptionError, match="26 variants are asked for"):
        choose_variants(many, 26, validation_images=10)
