"""What a step has done, in words."""

from __future__ import annotations

from typing import Any

import pytest

from rollback_operator.api.v1alpha1 import Remedy, RemedyType, StepName
from rollback_operator.remedies.steps import done_in_words
from tests.builders import make_ref, make_rollback

PIN = Remedy(type=RemedyType.PIN_IMAGE, container="shop", image="shop:v1")
SCALE = Remedy(type=RemedyType.SCALE, replicas=6)
ROWS: dict[StepName, tuple[dict[str, Any], str]] = {
    StepName.UNDO: (
        {"to_revision": make_ref("v1").model_copy(update={"number": 3, "images": ["shop:v1"]})},
        "the template of revision 3 (shop:v1) was restored",
    ),
    StepName.PIN_IMAGE: ({"remedy": PIN}, "the image of container shop was set to shop:v1"),
    StepName.SCALE: ({"remedy": SCALE}, "replicas were set to 6"),
    StepName.RESTART_PODS: ({}, "the pods are being replaced, because only new pods read the flag"),
    StepName.RESTORE_STRATEGY: ({}, "the rollout strategy was restored"),
}


@pytest.mark.parametrize("step", ROWS)
def test_done_in_words(step: StepName) -> None:
    changes, said = ROWS[step]

    assert done_in_words(make_rollback(**changes).spec, step) == said
