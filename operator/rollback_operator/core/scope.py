"""One scope of the judgement: a route, or all of them. Odds, floors, vetoes, blame."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rollback_operator.api.reasons import Reason
from rollback_operator.core.blame import blame
from rollback_operator.core.evidence import COARSE_AFTER_SECONDS, COARSE_SECONDS, Increment
from rollback_operator.core.model import Control, RouteControl
from rollback_operator.core.sequential import (
    Cell,
    Odds,
    against_ceiling,
    coin_flip,
    dispersion,
    is_lower,
    wilson_lower,
)
from rollback_operator.core.verdict import SUSPECT_ODDS, Method, ScopeVerdict

LEAST_REQUESTS = 20
LEAST_ERRORS = 10
WARM_UP_SECONDS = 20.0
NEARLY_ALL = 0.9
LEAST_CEILING = 0.01
CEILING_TIMES = 3.0
MOST_CEILING = 0.9
SPIKE_TIMES = 3.0


@dataclass(frozen=True, slots=True)
class Arms:
    """Both revisions' counts."""

    new: tuple[Increment, ...]
    old: tuple[Increment, ...]
    control: Control | None
    living_new: frozenset[str]
    living_old: frozenset[str]
    seen: Mapping[str, float]
    starts: Mapping[str, float]
    """Start of each new pod's container."""
    interval: float
    watch_seconds: float

    @property
    def has_control(self) -> bool:
        """Tell whether there is anything to compare with: old pods, or enough of a past."""
        return bool(self.living_old) or (self.control is not None and self.control.is_sufficient)


def judge_scope(arms: Arms, route: str | None, scopes: int) -> ScopeVerdict:
    """Judge one route, or all together.

    Args:
        arms: the counts of both revisions.
        route: None for all routes together.
        scopes: how many scopes are judged: the odds are shared out among them.
    """
    new = _counted(_on(arms.new, route), arms.starts)
    begin = min((one.start for one in new), default=0.0)
    old = [one for one in _on(arms.old, route) if one.end > begin] if new else []
    control = _against_control(arms, new, old)
    # While an old pod lives, only the comparison with it counts: it sees what history cannot.
    history = None if arms.living_old else _against_history(arms, new, route)
    if history is not None and history.value > control.value:
        return _verdict(arms, route, new, (Method.HISTORY, history, old), scopes)
    return _verdict(arms, route, new, (Method.CONTROL, control, old), scopes)


def _on(increments: Iterable[Increment], route: str | None) -> list[Increment]:
    return [one for one in increments if route is None or one.route == route]


def _counted(new: list[Increment], starts: Mapping[str, float]) -> list[Increment]:
    """Drop the pods' first seconds where the errors in them are those of a warm-up."""
    warm = [one for one in new if one.end - starts.get(one.pod, 0.0) <= WARM_UP_SECONDS]
    if not warm:
        return new
    half = WARM_UP_SECONDS / 2
    first = _sum(one for one in warm if _age(one, starts) < half)
    second = _sum(one for one in warm if _age(one, starts) >= half)
    fails_entirely = first[1] >= NEARLY_ALL * first[0] and first[0] > 0
    if fails_entirely or not first[1] or (second[0] > 0 and not is_lower(first, second)):
        return new
    dropped = {(one.pod, one.route, one.end) for one in warm}
    return [one for one in new if (one.pod, one.route, one.end) not in dropped]


def _age(one: Increment, starts: Mapping[str, float]) -> float:
    return (one.start + one.end) / 2 - starts.get(one.pod, 0.0)


def _sum(increments: Iterable[Increment]) -> tuple[float, float]:
    requests = errors = 0.0
    for one in increments:
        requests += one.requests
        errors += one.errors
    return requests, errors


def _against_control(arms: Arms, new: Sequence[Increment], old: Sequence[Increment]) -> Odds:
    if not new or not old:
        return Odds(0.0, 0.0)
    phi = dispersion((one.requests, one.errors) for one in old)
    return coin_flip(list(_cells(arms, new, old)), phi)


def _cells(arms: Arms, new: Sequence[Increment], old: Sequence[Increment]) -> Iterator[Cell]:
    """Lay both revisions' counts over the same seconds, route by route.

    Samples of different pods lie up to an interval apart. A burst that hits both must not be seen
    on one of them first: counts are spread evenly over their time, and only time that every pod
    has been read over is compared.
    """
    names = arms.living_old | arms.living_new
    read = [arms.seen[name] for name in names if name in arms.seen]
    ends = [
        max(one.end for one in new),
        max(one.end for one in old),
        *(read if arms.living_old else []),
    ]
    edges = _edges(min(one.start for one in new), min(ends), arms.interval)
    for route in sorted({one.route for one in new}):
        fresh, stale = (_spread(_on(side, route), edges) for side in (new, old))
        for index, start in enumerate(edges[:-1]):
            yield Cell(start, *fresh[index], *stale[index])


def _edges(begin: float, end: float, interval: float) -> list[float]:
    edges = [begin]
    while edges[-1] < end:
        is_old = edges[-1] < end - COARSE_AFTER_SECONDS
        width = COARSE_SECONDS if is_old else max(1.0, interval)
        if edges[-1] + width > end:
            break
        edges.append(edges[-1] + width)
    return edges


def _spread(increments: Iterable[Increment], edges: Sequence[float]) -> list[tuple[float, float]]:
    sums = [[0.0, 0.0] for _ in edges]
    for one in increments:
        length = max(one.end - one.start, 1e-9)
        for index in range(len(edges) - 1):
            overlap = min(one.end, edges[index + 1]) - max(one.start, edges[index])
            if overlap > 0:
                sums[index][0] += one.requests * overlap / length
                sums[index][1] += one.errors * overlap / length
    return [(requests, errors) for requests, errors in sums]


def _against_history(arms: Arms, new: Sequence[Increment], route: str | None) -> Odds | None:
    if arms.control is None or not arms.control.is_sufficient or not new:
        return None
    if route is not None:
        return against_ceiling(_counts(new), ceiling(arms.control, route))
    # All routes: a fault on one of them is not diluted by the others. The average of the odds on
    # each and on all keeps the property that makes them odds.
    parts = [against_ceiling(_counts(new), ceiling(arms.control, None))] + [
        against_ceiling(_counts(_on(new, one)), ceiling(arms.control, one))
        for one in sorted({increment.route for increment in new})
    ]
    best = max(parts, key=lambda odds: odds.value)
    return Odds(sum(odds.value for odds in parts) / len(parts), best.since)


def _counts(increments: Iterable[Increment]) -> list[tuple[float, float, float]]:
    ordered = sorted(increments, key=lambda one: one.start)
    return [(one.start, one.requests, one.errors) for one in ordered]


def ceiling(control: Control, route: str | None) -> float:
    """Compute the highest error rate that the control itself makes plausible."""
    past = _past(control, route)
    mean = past.errors / past.requests if past.requests else 0.0
    return min(MOST_CEILING, max(LEAST_CEILING, CEILING_TIMES * max(mean, past.worst_minute)))


def _past(control: Control, route: str | None) -> RouteControl:
    if route is None:
        return control.pooled
    past = control.routes.get(route)
    return past if past is not None and past.requests >= LEAST_REQUESTS else control.pooled


def _verdict(
    arms: Arms,
    route: str | None,
    counted: Sequence[Increment],
    compared: tuple[Method, Odds, Sequence[Increment]],
    scopes: int,
) -> ScopeVerdict:
    method, odds, old = compared
    new = [one for one in counted if one.end > odds.since] if odds.value >= 1 else list(counted)
    requests, errors = _sum(new)
    failing = {one.pod for one in new if one.errors > 0}
    past = _sum(old)
    if method is Method.HISTORY and arms.control is not None:
        control = _past(arms.control, route)
        past = control.requests, control.errors
    value = odds.value / scopes
    blamed = None
    if method is Method.HISTORY and arms.control is not None and value >= SUSPECT_ODDS:
        blamed = blame(_failing_route(new, route), ceiling(arms.control, route), arms.watch_seconds)
    return ScopeVerdict(
        route=route,
        method=method,
        requests=requests,
        errors=errors,
        control_requests=past[0],
        control_errors=past[1],
        odds=value,
        rate_lower_bound=wilson_lower(requests, errors),
        has_all_failed=requests >= LEAST_REQUESTS and errors >= requests,
        first_bad=min((one.end for one in new if one.errors > 0), default=None),
        blame=blamed,
        unmet=_unmet(arms, new),
        veto=_veto(arms, new, route, method) if value >= SUSPECT_ODDS else None,
        pods_failing=len(failing),
        pods=len(arms.living_new),
    )


def _failing_route(new: Sequence[Increment], route: str | None) -> Sequence[Increment]:
    """Narrow all routes down to the one that fails most: its first requests tell the onset."""
    if route is not None:
        return new
    worst = max({one.route for one in new}, key=lambda name: _sum(_on(new, name))[1])
    return _on(new, worst)


def _unmet(arms: Arms, new: Sequence[Increment]) -> str:
    requests, errors = _sum(new)
    served = [one for one in new if one.requests > 0]
    ends = sorted({one.end for one in served})
    failing = {one.pod for one in new if one.errors > 0}
    wanted = min(2, len(arms.living_new))
    floors: tuple[tuple[bool, Callable[[], str]], ...] = (
        (requests >= LEAST_REQUESTS, lambda: f"{requests:.0f} of {LEAST_REQUESTS} requests"),
        (
            errors >= LEAST_ERRORS or 0 < requests <= errors,
            lambda: f"{errors:.0f} of {LEAST_ERRORS} errors",
        ),
        (len(ends) >= 2, lambda: "only one sample"),  # noqa: PLR2004
        (len(failing) >= wanted, lambda: f"errors on {len(failing)} of {wanted} pods needed"),
        (
            all(any(one.errors > 0 for one in served if one.end == end) for end in ends[-2:]),
            lambda: "no error in one of the two newest samples",
        ),
    )
    return next((say() for met, say in floors if not met), "")


def _veto(arms: Arms, new: Sequence[Increment], route: str | None, method: Method) -> Reason | None:
    if method is Method.CONTROL or arms.control is None:
        return None
    # Old pods that had begun to fail alike before they went: the fault is not the release's.
    begin = min(one.start for one in new)
    last = [one for one in _on(arms.old, route) if one.end > begin - COARSE_SECONDS]
    if against_ceiling(_counts(last), ceiling(arms.control, route)).value >= SUSPECT_ODDS:
        return Reason.OLD_REVISION_FAILS_TOO
    seconds = max(one.end for one in arms.new) - min(one.start for one in arms.new)
    rate = _sum(arms.new)[0] / max(1.0, seconds)
    requests, errors = _sum(new)
    is_total = errors >= NEARLY_ALL * requests
    is_spike = 0 < SPIKE_TIMES * arms.control.busiest_minute < rate
    return Reason.TRAFFIC_SPIKE if is_spike and not is_total else None
