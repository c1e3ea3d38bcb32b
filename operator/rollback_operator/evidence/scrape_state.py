"""Reads of the metrics pages of watched pods: which pods, and whether reads succeed.

Prometheus stays the reference: where pods cannot be reached, or show other series, the operator
does not read them and judges by Prometheus alone.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollback_operator.api.reasons import Reason
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters, Missing, Reading

MOST_PAGES = 50
"""Per read, both revisions together: the rest comes by Prometheus."""
FAILED_ROUNDS = 3
EMPTY_ROUNDS = 20
"""A page without the counters belongs to a pod that has not served yet, or is the wrong page; a
slow pod may recover soon."""
_PATIENT = (Reason.NO_COUNTERS_EXPOSED, Reason.PODS_SLOW)
PAUSE_SECONDS = 60.0
NOT_YET = Missing(Reason.NOT_YET_READ, "no pod of the target has been read yet")


@dataclass(frozen=True, slots=True)
class Direct:
    """The state of reads of the pods."""

    missing: Missing | None = NOT_YET
    """Why reads give nothing; None: they succeed."""
    failed: int = 0
    """Consecutive rounds without a usable answer."""
    paused_until: float = 0.0
    is_off: bool = False
    """For the rest of this watch."""

    def is_usable(self, now: float) -> bool:
        """Return whether pods are to be read now."""
        return not self.is_off and now >= self.paused_until


def off(reason: Reason, message: str) -> Direct:
    """Read no pods in this watch."""
    return Direct(Missing(reason, message), is_off=True)


def after_round(direct: Direct, reading: Reading, now: float) -> Direct:
    """Add the result of a round of reads."""
    if isinstance(reading, Counters):
        return Direct(None)
    if reading.reason is Reason.ERROR_SERIES_MISSING:
        # Nothing has failed yet, or errors are counted elsewhere: only the first error decides.
        return replace(direct, missing=reading, failed=0)
    patience = EMPTY_ROUNDS if reading.reason in _PATIENT else FAILED_ROUNDS
    if direct.failed + 1 < patience:
        return replace(direct, failed=direct.failed + 1)
    return Direct(reading, paused_until=now + PAUSE_SECONDS)


def chosen(new: Sequence[Pod], old: Sequence[Pod]) -> tuple[Pod, ...]:
    """Choose the pods to read, some of each revision; by chance, but the same pods each time."""
    fresh, known = _shuffled(new), _shuffled(old)
    share = max(MOST_PAGES // 2, MOST_PAGES - len(known))
    kept = fresh[:share]
    return (*kept, *known[: MOST_PAGES - len(kept)])


def _shuffled(pods: Sequence[Pod]) -> list[Pod]:
    return sorted(pods, key=lambda pod: (zlib.crc32(pod.name.encode()), pod.name))
