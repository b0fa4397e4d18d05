import pytest

from archipel.report import wording
from archipel.report.run_folder import Interval


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (wording.milliseconds(0.41273), "0.413 ms"),
        (wording.milliseconds(0.05), "0.050 ms"),
        (wording.milliseconds(12.345), "12.3 ms"),
        (wording.milliseconds(0.000123), "0.000123 ms"),
        (wording.plain(0), "0"),
        (wording.plain(-1234.5), "−1 234"),
        (wording.signed_percent(-0.151), "−15\u202f%"),
        (wording.signed_percent(0.001), "±0\u202f%"),
        (wording.percent(0.973), "97.3 %"),
        (wording.count(2247530), "2.25 M"),
        (wording.count(431), "431"),
        (wording.magnitude("31" + 24 * "0"), "3.1 · 10²⁵"),
        (wording.magnitude("4096"), "4096"),
        (wording.duration(48.4), "48 s"),
        (wording.duration(725), "12 min 5 s"),
        (wording.duration(12000), "3 h 20 min"),
        (wording.listed(["A", "B", "C"]), "A, B and C"),
        (wording.listed(["A"]), "A"),
        (wording.spread(None), "–"),
        (wording.spread(Interval(0.97, 0.96, 0.98, (0.96, 0.98)), scale=100), "97.0 ± 1.0"),
        (wording.spread(Interval(0.97, 0.97, 0.97, (0.97,)), scale=100), "97.0"),
        (wording.spread(Interval(0.02, 0.01, 0.03, (0.01, 0.03)), scale=100, sign=True), "+2.0 ± 1.0"),
        (wording.spread(Interval(-0.02, -0.02, -0.02, (-0.02,)), scale=100, sign=True), "−2.0"),
        (wording.spread(Interval(-0.0002, -0.0002, -0.0002, (-0.0002,)), scale=100, sign=True), "0.0"),
        (wording.spread_ms(None), "–"),
        (wording.spread_ms(Interval(0.05541, 0.05441, 0.05641, (0.0, 0.1))), "0.0554 ± 0.0010"),
        (wording.spread_ms(Interval(0.41273, 0.4, 0.4, (0.4,))), "0.413"),
        (wording.spread_ms(Interval(123.4, 123.4, 123.4, (123.4,))), "123"),
        (wording.ranges([]), ""),
        (wording.ranges([2]), "2"),
        (wording.ranges([3, 7, 8, 9, 12]), "3, 7–9, 12"),
    ],
)
def test_wording(made: str, text: str) -> None:
    assert made == text
