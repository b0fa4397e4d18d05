import pytest

from archipel.report.budgets import apart, said


@pytest.mark.parametrize(
    ("budgets", "low", "high", "near", "far"),
    [
        ((3.0, 1.0, 2.0), 1.5, 2.5, [1.0, 2.0, 3.0], []),
        ((0.4, 0.5, 3.5, 3.6), 1.5, 2.5, [0.5, 3.5], [0.4, 3.6]),
        ((1.0, 1.0), 1.0, 2.0, [1.0], []),
        ((2.9, 3.1), 2.0, 2.0, [2.9], [3.1]),
        ((), 1.0, 2.0, [], []),
    ],
)
def test_only_far_budgets_are_left_out(
    budgets: tuple[float, ...], low: float, high: float, near: list[float], far: list[float]
) -> None:
    assert apart(budgets, low, high) == (near, far)


def test_said() -> None:
    assert said([5.0]) == "Budget outside the frame: 5.00 ms."
    assert said([0.5, 60.0]) == "Budgets outside the frame: 0.500 ms and 60.0 ms."
