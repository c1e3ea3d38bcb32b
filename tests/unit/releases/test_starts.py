"""What earlier releases recorded of their pods' first seconds."""

import pytest

from rollback_operator.api.v1alpha1 import Starts
from rollback_operator.releases.starts import has_warm_up, with_starts
from tests.builders import make_entry

CLEAN, FAILING = Starts.CLEAN, Starts.FAILING


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([], True),
        ([None, None], True),
        ([CLEAN], False),
        ([None, CLEAN, CLEAN], False),
        ([CLEAN, FAILING, CLEAN], True),
    ],
)
def test_a_service_has_no_warm_up_where_all_earlier_starts_were_clean(
    known: list[Starts | None], expected: bool
) -> None:
    earlier = [make_entry(f"v{4 - index}", starts=one) for index, one in enumerate(known)]
    own = make_entry("v5", starts=CLEAN if expected else FAILING)
    assert has_warm_up([own, *earlier], own.release) is expected


def test_starts_are_recorded_once() -> None:
    ledger = [make_entry("v2"), make_entry("v1")]
    once = with_starts(ledger, ledger[0].release, CLEAN)
    assert [one.starts for one in once] == [CLEAN, None]
    assert with_starts(once, ledger[0].release, FAILING) == once
