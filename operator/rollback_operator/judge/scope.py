"""One scope of the judgement, a route or all routes: odds, floors, vetoes, blame."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import VerdictValue
from rollback_operator.evidence.arms import Arms
from rollback_operator.evidence.baseline import (
    Ceiling,
    Control,
    ceilings,
    highest_ceiling,
    history_on,
    mean_rate,
    plausible,
)
from rollback_operator.evidence.limits import (
    FIRST_REQUESTS_WEIGHT,
    LEAST_ERRORS,
    LEAST_REQUESTS,
    MOST_SHARE,
    RECENT_ERRORS_Z,
    RECENT_WINDOWS,
    SHARING_ROUTES,
    TIME_TOLERANCE_SECONDS,
)
from rollback_operator.evidence.overlap import cells
from rollback_operator.judge import vetoes
from rollback_operator.judge.affected import (
    AffectedPods,
    affected,
    fail_more,
    pod_counts_by_route,
)
from rollback_operator.judge.blame import blame, is_one_fault
from rollback_operator.judge.warm_up import counts_that_matter
from rollback_operator.model.verdict import CEASED, ENDED, Blame, Method, ScopeVerdict
from rollback_operator.stats.change_point import BaselineRate, Failing, has_ended
from rollback_operator.stats.sequential import Odds, coin_flip, dispersion, wilson_lower, z_of
from rollback_operator.stats.windows import Counts, Increment, on, total
from rollback_operator.stats.windows import by_route as counts_by_route


def judge_scope(arms: Arms, route: str | None, scopes: int) -> ScopeVerdict:
    """Judge one route, or all together.

    Args:
        arms: the counts of both revisions.
        route: None for all routes together.
        scopes: how many scopes are judged: the odds are shared out among them.
    """
    new = counts_that_matter(arms, route)[0]
    old = (
        [increment for increment in on(arms.old, route) if increment.end > new.begin] if new else []
    )
    enough = scopes * arms.odds.bad
    compared = [_Compared(Method.CONTROL, _against_control(arms, new, old, enough), total(old))]
    # While an old pod lives, only the comparison with it counts: history cannot show as much.
    history = None if arms.living_old else _against_history(arms, new, route, enough)
    if history is not None and arms.control is not None:
        known = history_on(arms.control, route)
        compared.append(_Compared(Method.HISTORY, history, (known.requests, known.errors)))
    verdicts = [_verdict(arms, route, new, each, scopes) for each in compared]
    # A proof against the old pods remains a proof when they have gone.
    return max(
        verdicts,
        key=lambda verdict: (
            verdict.is_proved and verdict.odds >= arms.odds.suspect,
            verdict.odds,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    method: Method
    odds: Odds
    control: tuple[float, float]
    """Requests and errors of the control."""


def _against_control(arms: Arms, counted: Counts, old: Sequence[Increment], enough: float) -> Odds:
    if not old:
        return Odds(0.0, 0.0)
    # Only counts that ended by the last sample of the old pods are comparable; reads use all.
    last = max(increment.end for increment in old) + TIME_TOLERANCE_SECONDS
    new = counted.increments if arms.read else counted.ended_by(last)
    whole = _flipped(arms, new, old, enough)
    if not arms.read & arms.living_old or arms.living_old <= arms.read:
        return whole
    # Of many pods some are read between scrapes, always the same pods, which can be compared among
    # themselves at once. The average of both odds keeps the property that makes them odds.
    some = replace(arms, living_old=arms.living_old & arms.read)
    new_read, old_read = (
        [increment for increment in side if increment.pod in arms.read] for side in (new, old)
    )
    part = _flipped(some, new_read, old_read, enough)
    best = max(part, whole, key=lambda odds: odds.value)
    return replace(best, value=(part.value + whole.value) / 2)


def _flipped(arms: Arms, new: Sequence[Increment], old: Sequence[Increment], enough: float) -> Odds:
    groups: dict[tuple[str, float], dict[tuple[str, float], tuple[float, float]]] = {}
    width = max(1.0, arms.interval)
    for increment in old:
        pod, end = increment.pod, increment.end
        key = increment.route, end // width
        # Frequent reads of a pod count once: dispersion is that between pods, not within a pod.
        name = pod, 0.0 if pod in arms.read else end
        group = groups.get(key)
        if group is None:
            group = groups[key] = {}
        known = group.get(name)
        requests, errors = increment.requests, increment.errors
        group[name] = (
            (requests, errors) if known is None else (known[0] + requests, known[1] + errors)
        )
    read = [arms.seen[pod] for pod in arms.living_old if pod in arms.seen]
    overlap = cells(new, old, min(read, default=math.inf), arms.interval, _moment(arms, new))
    return coin_flip(
        overlap, dispersion([list(group.values()) for group in groups.values()]), enough
    )


def _moment(arms: Arms, new: Sequence[Increment]) -> float:
    """Give the delay after the old pods within which a new pod is read and still compared.

    Pods in one round are not read in the same instant. While less than one request is expected in
    between, that favors neither revision.
    """
    requests = total(new)[0] if arms.read else 0.0
    if not requests:
        return 0.0
    seconds = max(increment.end for increment in new) - min(increment.start for increment in new)
    return min(TIME_TOLERANCE_SECONDS, seconds / requests)


def _against_history(arms: Arms, new: Counts, route: str | None, enough: float) -> Odds | None:
    if arms.control is None or not arms.control.bounds_rates or not new:
        return None
    # All routes: a fault on one of them is not diluted by the others. A weighted average of the
    # odds on each and on all, against each span's ceiling, keeps the property that makes them odds.
    each = [(name, Counts({name: part})) for name, part in new.routes.items()]
    routes = [(route, new)] if route is not None else [(None, new), *each]
    parts: list[tuple[float, Odds]] = []
    for name, counts in routes:
        limits = ceilings(arms.control, name)
        bounds = [(limit.rate, counts.newest_start - limit.seconds) for limit in limits]
        all_odds = counts.against(bounds, enough)
        parts += [
            (_weight(limit, limits) / len(routes), odds)
            for limit, odds in zip(limits, all_odds, strict=True)
        ]
    least = min(enough, max(part.value for _, part in parts))
    proving = {part.since: part.number for _, part in parts if part.value >= least}
    worst = max(proving, key=lambda since: wilson_lower(*new.since(since), z_of(proving[since])))
    value = sum(weight * part.value for weight, part in parts)
    return Odds(value, worst, proving[worst])


def _weight(limit: Ceiling, limits: Sequence[Ceiling]) -> float:
    """Give a ceiling's share of the odds: nearly all to the ceiling of the first seconds."""
    if len(limits) == 1:
        return 1.0
    return (
        FIRST_REQUESTS_WEIGHT
        if limit is limits[0]
        else (1 - FIRST_REQUESTS_WEIGHT) / (len(limits) - 1)
    )


def _verdict(
    arms: Arms, route: str | None, counted: Counts, compared: _Compared, scopes: int
) -> ScopeVerdict:
    shows = compared.odds.value >= 1
    since, number = (compared.odds.since, compared.odds.number) if shows else (-math.inf, 1)
    requests, errors = counted.since(since)
    new: list[Increment] = []
    odds = compared.odds.value / scopes
    pods, unmet = AffectedPods(), "nothing speaks against it"
    usual: Mapping[str, float] = {}
    if odds >= 1:
        # Failing pods and unmet floors matter only where something speaks against the release.
        new = [increment for increment in counted.increments if increment.end > since]
        usual = _usual(arms, compared, new)
        pods = affected(arms, pod_counts_by_route(new), route, usual)
        unmet = vetoes.unmet_floor(arms, new, pods)
        if unmet == CEASED and arms.against is VerdictValue.BAD:
            unmet = ""  # One sample without an error is chance now and then: ENDED takes 100 : 1.
    blamed, veto = None, None
    nodes: tuple[str, ...] = ()
    if odds >= arms.least_odds:
        # One fault began on all routes that fail: their joint evidence holds for each of them, and
        # other routes dilute it.
        together = _failing_routes(arms)
        if route is not None and route not in together:
            together = [route]
        failing = [_failing(arms, compared, usual, name) for name in together]
        # This veto holds for either control.
        veto = Reason.FEW_PODS_AFFECTED if pods.few else None
        if compared.method is Method.CONTROL:
            old = [increment for increment in on(arms.old, route) if increment.end > since]
            nodes = _failing_nodes(arms, new, old, pods.bad)
            veto = veto or (Reason.ENVIRONMENT_SUSPECTED if nodes else None)
        elif arms.control is not None:
            veto = veto or vetoes.veto_by_history(arms, arms.control, new, route, together)
            blamed = _blamed(arms, arms.control, route)
        is_open = not unmet or (unmet == CEASED and arms.against is not None)
        if is_open and has_ended(_of_pods(failing, pods.bad & arms.living_new)):
            unmet = ENDED
    late = _late(counted)
    return ScopeVerdict(
        route=route,
        method=compared.method,
        requests=requests,
        errors=errors,
        control_requests=compared.control[0],
        control_errors=compared.control[1],
        odds=odds,
        rate_lower_bound=wilson_lower(requests, errors, z_of(number)),
        has_all_failed=requests >= LEAST_REQUESTS and errors >= requests,
        first_bad=counted.first_error_since(since),
        blame=blamed,
        unmet=unmet,
        veto=veto,
        pods_failing=len(pods.few or pods.bad),
        pods=len(arms.living_new),
        late_lower_bound=wilson_lower(*late, RECENT_ERRORS_Z) if late[0] else 0.0,
        late_share=late[1] / late[0] if late[0] else None,
        nodes=nodes,
        is_adopted=arms.is_adopted and not arms.has_control,
    )


def _failing_nodes(
    arms: Arms, new: Sequence[Increment], old: Sequence[Increment], bad: frozenset[str]
) -> tuple[str, ...]:
    """Name the nodes of the failing pods if the nodes explain the fault, not the release.

    On each of these nodes old pods have the fault, old pods on other nodes do not, and against the
    old pods of the same node nothing speaks against the release.

    Args:
        arms: the counts of both revisions.
        new: the release's counts in the scope, since the fault shows.
        old: the old revision's.
        bad: the pods that have the fault.
    """
    nodes = {arms.nodes.get(pod, "") for pod in bad}
    if not nodes or "" in nodes:
        return ()
    elsewhere = [increment for increment in old if arms.nodes.get(increment.pod) not in nodes]
    for node in nodes:
        fresh, stale = (
            [increment for increment in side if arms.nodes.get(increment.pod) == node]
            for side in (new, old)
        )
        if not fail_more(stale, elsewhere):
            return ()
        if _flipped(arms, fresh, stale, arms.odds.suspect).value >= arms.odds.suspect:
            return ()
    return tuple(sorted(nodes))


def _late(counted: Counts) -> tuple[float, float]:
    """Give the newest requests and errors, of the shortest window that has enough; else none."""
    for seconds in RECENT_WINDOWS:
        requests, errors = counted.since(counted.newest_start - seconds)
        if requests >= LEAST_REQUESTS:
            return requests, errors
    return 0.0, 0.0


def _usual(arms: Arms, compared: _Compared, new: Sequence[Increment]) -> Mapping[str, float]:
    """Give the control's error rate by route; under "" that of all together."""
    requests, errors = compared.control
    usual = {"": errors / requests if requests else 0.0}
    old = counts_by_route(arms.old)
    for route in {increment.route for increment in new}:
        if compared.method is Method.HISTORY and arms.control is not None:
            usual[route] = mean_rate(arms.control, route)
        else:
            requests, errors = total(old.get(route, ()))
            usual[route] = errors / requests if requests else usual[""]
    if compared.method is Method.HISTORY and arms.control is not None:
        usual[""] = mean_rate(arms.control, None)
    return usual


def _failing(arms: Arms, compared: _Compared, usual: Mapping[str, float], route: str) -> Failing:
    # Since its first request, not only since the count began that shows it best.
    first = counts_that_matter(arms, route)[1]
    if compared.method is Method.HISTORY and arms.control is not None:
        return Failing(first, _level(arms.control, route))
    rate = usual.get(route, usual[""])
    return Failing(first, BaselineRate(rate, plausible(rate)))


def _level(control: Control, route: str) -> BaselineRate:
    return BaselineRate(mean_rate(control, route), highest_ceiling(control, route))


def _of_pods(failing: Sequence[Failing], pods: frozenset[str]) -> list[Failing]:
    """Leave out pods that never had the fault: as the last pods read, they seem to show its end."""
    kept = [
        Failing([increment for increment in each.increments if increment.pod in pods], each.level)
        for each in failing
    ]
    return [each for each in kept if each.increments] or list(failing)


def _blamed(arms: Arms, control: Control, route: str | None) -> Blame:
    """Compute the blame of a scope, once for all scopes that share its fault."""
    shared = _sharing(arms, control, _failing_routes(arms))
    if route is not None and route not in shared:
        shared = [route]
    key = tuple(shared)
    if key not in arms.blames:
        failing = [_since_first(arms, control, name) for name in shared]
        arms.blames[key] = blame(failing, arms.watch_seconds)
    return arms.blames[key]


def _sharing(arms: Arms, control: Control, worst: Sequence[str]) -> list[str]:
    """Add to the routes with most errors those that share their fault.

    One fault has one cause: the scopes that share it share the figure of its blame. A route with
    fewer requests has a vaguer onset of its own, which could blame the release for an outage that
    other routes date.
    """
    key = tuple(worst)
    if key not in arms.sharing:
        of_worst = [_since_first(arms, control, name) for name in worst]
        errors = {name: counts.errors for name, counts in arms.counted.routes.items()}
        beside = sorted(errors.keys() - set(worst), key=lambda name: (-errors[name], name))
        joined = [
            name
            for name in beside[:SHARING_ROUTES]
            if _fails(arms, control, name)
            and is_one_fault(of_worst, _since_first(arms, control, name))
        ]
        arms.sharing[key] = tuple(sorted([*worst, *joined]))
    return list(arms.sharing[key])


def _since_first(arms: Arms, control: Control, route: str) -> Failing:
    return Failing(counts_that_matter(arms, route)[1], _level(control, route))


def _fails(arms: Arms, control: Control, route: str) -> bool:
    """Return whether a route fails by its own counts."""
    counts = arms.counted.routes[route]
    if counts.errors < LEAST_ERRORS:
        return False
    ceiling = highest_ceiling(control, route)
    (odds,) = counts.against([(ceiling, counts.starts[-1])], arms.odds.bad)
    return odds.value >= arms.odds.suspect


def _failing_routes(arms: Arms) -> list[str]:
    """Name the routes on which most errors are."""
    errors = {name: counts.errors for name, counts in arms.counted.routes.items()}
    most = max(errors.values())
    return sorted(route for route, failed in errors.items() if failed >= MOST_SHARE * most)
