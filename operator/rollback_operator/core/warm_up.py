"""A pod's first seconds: which of its counts are a warm-up, that ends by itself, and no fault."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rollback_operator.core.arms import total
from rollback_operator.core.counts import Counts, counted
from rollback_operator.core.doubts import NEARLY_ALL
from rollback_operator.core.fading import Aged, Fading, fading, is_lower
from rollback_operator.core.increments import Increment
from rollback_operator.core.sequential import lasting

WARM_UP_SECONDS = 20.0
FADING_SECONDS = 60.0
"""A warm-up that is seen to fade may take so long."""
LEAST_FADING = 5
"""Of fewer first errors nobody sees that they fade."""
FADING = 3.0
"""Odds from which it is waited for: what nearly all fails is never kept waiting."""
SHOWN = 100.0
"""Odds at which first errors are taken for lasting ones, or for those of a warm-up."""


def without_warm_up(
    new: Sequence[Increment], starts: Mapping[str, tuple[float, ...]]
) -> list[Increment]:
    """Drop the pods' first seconds unless they are shown to be no warm-up."""
    return list(warm_up(counted(new), starts)[0].increments)


def warm_up(
    new: Counts, starts: Mapping[str, tuple[float, ...]]
) -> tuple[Counts, Sequence[Increment]]:
    """Tell what counts, and what is known of the time since the first request.

    The first seconds count if nearly everything fails, or if what follows their first half fails as
    that does and does not fade. If it is shown to fail less, they were a warm-up: no onset of a
    fault is found there. While errors fade, the first minute is a warm-up.
    """
    if not new:
        return new, []
    half = WARM_UP_SECONDS / 2
    # A pod began to serve some seconds after its container started.
    starts = {pod: (*starts.get(pod, ()), begin) for pod, begin in new.first_starts.items()}
    if not starts:
        return new, new.increments
    # Long watches have few young counts: only of those it matters how young they are.
    young = _young(new, starts, WARM_UP_SECONDS + half)
    ages = [(_age((one.start + one.end) / 2, one.pod, starts), one) for one in young]
    # A pod's first count is no later one, however long it is: it holds the first seconds too.
    begun_at = {id(one): _age(one.start, one.pod, starts) for one in young}
    first = total(
        one
        for age, one in ages
        if age < half or (age < WARM_UP_SECONDS and begun_at[id(one)] < half / 2)
    )
    later = total(
        one
        for age, one in ages
        if half <= age < WARM_UP_SECONDS + half and begun_at[id(one)] >= half / 2
    )
    fails_entirely = first[1] >= NEARLY_ALL * first[0] and first[0] > 0
    odds = lasting(first, later)
    if fails_entirely or not first[1]:
        return new, new.increments
    lasts, fades = WARM_UP_SECONDS, Fading()
    if first[1] >= LEAST_FADING and is_lower(first, later):
        early = _young(new, starts, FADING_SECONDS)
        fades = fading([_aged(one, starts) for one in early], WARM_UP_SECONDS)
        if fades.odds >= FADING:
            lasts, young = min(FADING_SECONDS, max(lasts, fades.until)), early
    if odds >= SHOWN and fades.odds < FADING:
        return new, new.increments
    warm = [one for one in young if _holds_warm_up(one, starts, lasts)]
    left = new.without(warm)
    if odds > 1 / SHOWN and fades.odds < SHOWN:
        return left, new.increments
    cleared = {id(one) for one in warm}
    return left, [replace(one, errors=0.0) if id(one) in cleared else one for one in new.increments]


def _young(new: Counts, starts: Mapping[str, tuple[float, ...]], seconds: float) -> list[Increment]:
    """List the counts that began in the first seconds of their pod's newest life."""
    settled = {pod: max(known) + seconds for pod, known in starts.items()}
    begun = new.begun_before(max(settled.values()))
    return [one for one in begun if one.start < settled.get(one.pod, -math.inf)]


def _aged(one: Increment, starts: Mapping[str, tuple[float, ...]]) -> Aged:
    age = _age(one.start, one.pod, starts)
    return Aged(age, age + one.end - one.start, one.requests, one.errors)


def _holds_warm_up(one: Increment, starts: Mapping[str, tuple[float, ...]], lasts: float) -> bool:
    """Tell whether a count lies within a pod's first seconds, or holds them and little else."""
    middle = (one.start + one.end) / 2
    if _age(middle, one.pod, starts) >= lasts:
        return False
    is_first = _age(one.start, one.pod, starts) < WARM_UP_SECONDS / 2
    return is_first or _age(one.end, one.pod, starts) <= lasts


def _age(time: float, pod: str, starts: Mapping[str, tuple[float, ...]]) -> float:
    """Tell how long before `time` the pod's container had started."""
    newest = 0.0
    for one in starts.get(pod, ()):
        if newest < one <= time:
            newest = one
    return time - newest
