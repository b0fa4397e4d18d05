import pytest

from archipel.report.fidelity import facts, judged, panel
from archipel.report.search_run import Target

PAIRS = [[1.0, 1.0], [1.2, 1.0]]


def test_numbers_and_worst_error() -> None:
    fidelity = {"mape": 10.0, "tau": -0.5, "coverage": None, "pairs": PAIRS}
    assert facts(fidelity) == [("mean error", "10.0 %"), ("Kendall’s τ", "−0.50")]
    made = panel(fidelity)
    assert made is not None
    assert "off by 20.0 %" in made.sentence


def test_drift_of_the_machine_is_said() -> None:
    drift = {"mape": 2.0, "speed": 1.1, "mape_uncorrected": 12.0}
    assert facts(drift)[1:] == [
        ("machine’s time, now over then", "× 1.10"),
        ("mean error without that correction", "12.0 %"),
    ]


@pytest.mark.parametrize("fidelity", [{}, {"pairs": None, "mape": None}, {"pairs": [[1, "x"], [1], None]}])
def test_nothing_measured(fidelity: dict[str, object]) -> None:
    assert facts(fidelity) == []
    assert panel(fidelity) is None


def test_every_device_is_judged_by_itself() -> None:
    here, batched, elsewhere = judged(
        [
            Target("cpu", fidelity={"mape": 1.0, "pairs": PAIRS}),
            Target("cpu@32", batch=32, fidelity={"mape": 2.0, "pairs": PAIRS}),
            Target("pixel3", published=True),
        ]
    )
    assert [one.name for one in (here, batched, elsewhere)] == ["cpu", "cpu@32", "pixel3"]
    assert here.facts != batched.facts
    assert here.panel is not None
    assert batched.panel is not None
    assert "passes" not in here.panel.sentence
    assert "in passes of 32 images" in batched.panel.sentence
    assert elsewhere.panel is None
    assert elsewhere.absent.startswith("A published table")
    assert [one.panel for one in judged([])] == [None]
