"""What the control's past makes plausible."""

import pytest

from rollback_operator.core.arms import ceilings
from rollback_operator.core.model import Control, RouteControl


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
