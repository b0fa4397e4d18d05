from dataclasses import replace
from pathlib import Path

from archipel.report.fidelity import facts, panel
from archipel.report.run_folder import read


def test_numbers_and_worst_error(finished: Path) -> None:
    run = replace(
        read(finished),
        result={"fidelity": {"mape": 10.0, "tau": -0.5, "coverage": None, "pairs": [[1.0, 1.0], [1.2, 1.0]]}},
    )
    assert facts(run) == [("mean error", "10.0 %"), ("Kendall’s τ", "−0.50")]
    made = panel(run)
    assert made is not None
    assert "off by 20.0 %" in made.sentence


def test_drift_of_the_machine_is_said(finished: Path) -> None:
    drift = {"mape": 2.0, "speed": 1.1, "mape_uncorrected": 12.0}
    run = replace(read(finished), result={"fidelity": drift})
    assert facts(run)[1:] == [
        ("machine’s time, now over then", "× 1.10"),
        ("mean error without that correction", "12.0 %"),
    ]


def test_nothing_measured(finished: Path) -> None:
    run = replace(read(finished), result={"fidelity": None})
    assert facts(run) == []
    assert panel(run) is None
