"""What the control's past makes plausible."""

import pytest

from rollback_operator.evidence.baseline import Control, RouteControl, ceilings


@pytest.mark.parametrize(
    ("mean", "worst", "ceiling"),
    [
        (0.0, 0.0, 0.01),
        (0.0, 0.08, 0.24),
        (0.001, 0.02, 0.058),
        (0.01, 0.014, 0.022),
        (0.25, 0.25, 0.375),
        (0.25, 0.3, 0.4),
        (0.12, 0.15, 0.21),
        (0.5, 0.9, 0.9),
        (0.0, 0.7, 0.9),
        (0.5, 0.978, 0.99),
    ],
)
def test_a_ceiling_is_three_times_as_far_from_the_mean_as_the_worst(mean, worst, ceiling) -> None:
    known = RouteControl(10_000.0, 10_000 * mean, worst, ((60.0, worst),))
    control = Control(3600.0, {}, 10.0, 5.0, known)
    (found,) = ceilings(control, None)
    assert found.rate == pytest.approx(ceiling)


def test_what_failed_for_long_is_plausible_for_a_moment() -> None:
    # Only its healthy minutes had enough requests to be told of one by one.
    worst = ((60.0, 0.0), (300.0, 0.16), (900.0, 0.07))
    control = Control(3600.0, {}, 10.0, 5.0, RouteControl(10_000.0, 170.0, 0.0, worst))

    rates = [one.rate for one in ceilings(control, None)]

    assert rates == pytest.approx([0.24, 0.017 + 3 * (0.16 - 0.017), 0.017 + 3 * (0.07 - 0.017)])


def test_what_failed_nearly_whole_for_long_makes_everything_plausible_for_a_moment() -> None:
    worst = ((300.0, 0.0), (900.0, 0.92))
    control = Control(3600.0, {}, 10.0, 5.0, RouteControl(2_000.0, 600.0, 0.0, worst))

    assert [one.rate for one in ceilings(control, None)] == pytest.approx([0.99, 0.99])
