"""One line of a replay: what was thought, what was done, on which evidence, and who is blamed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Response, Severity, VerdictValue
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.evaluate import EvaluationResult
from rollback_operator.evidence.limits import LEAST_CEILING
from rollback_operator.evidence.watch import Watch
from rollback_operator.judge.affected import failing, pod_counts, pod_counts_by_route
from rollback_operator.model.samples import Missing
from rollback_operator.model.verdict import Cause, Method, ScopeVerdict, Symptom
from rollback_operator.report.status import QUIET
from rollback_operator.stats.windows import Increment

CONCENTRATED_SHARE = 0.8
"""A route, a pod or a node with this share of the errors has the fault."""


class Action(StrEnum):
    """What follows from a look."""

    NONE = "None"
    PAUSE = "Pause"
    ROLLBACK = "Rollback"
    INVESTIGATE = "Investigate"
    REPORT = "Report"
    NOTIFY = "Notify"
    """People are told that something is wrong and nothing is done."""


@dataclass(frozen=True, slots=True)
class Blamed:
    """Where the fault is. All empty: there is none, or it cannot be told."""

    revision: int | str | None = None
    """The release that is to blame, as the rollouts name it."""
    route: str | None = None
    pod: str | None = None
    node: str | None = None
    shared_with_old: bool = False
    """The old revision fails alike: going back would not help."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a look at a virtual moment has given."""

    time: float
    verdict: VerdictValue
    severity: Severity
    action: Action
    reason: Reason
    message: str
    newest_sample: float | None = None
    scopes: tuple[ScopeVerdict, ...] = ()
    leading: ScopeVerdict | None = None
    """The scope with the strongest evidence."""
    symptoms: tuple[Symptom, ...] = ()
    missing: Mapping[str, Missing] = field(default_factory=dict)
    """What changes slowly and could not be read: latency, memory or an own query -> why."""
    blame: Blamed = Blamed()

    @property
    def state(self) -> tuple[object, ...]:
        """What makes two entries the same: times and counts tick, decisions do not."""
        return self.verdict, self.severity, self.action, self.reason


def action_of(look: EvaluationResult, verdict: VerdictValue) -> Action:
    """Tell what follows from a look."""
    decision = look.decision
    refusal = decision.refusal
    if decision.plan is not None and not decision.plan.requires_approval:
        return Action.ROLLBACK
    if refusal is not None and refusal.reason not in QUIET:
        return Action.NOTIFY
    if look.hold is not None and look.hold.is_open:
        return Action.PAUSE
    if refusal is not None:
        return Action.NONE
    told = {Response.INVESTIGATE: Action.INVESTIGATE, Response.REPORT: Action.REPORT}
    if decision.response in told:
        return told[decision.response]
    leading = decision.verdict.leading
    is_vetoed = verdict is VerdictValue.SUSPECT and (leading is None or not leading.is_proved)
    is_told = is_vetoed or decision.doubted is not Severity.NONE
    return Action.NOTIFY if is_told else Action.NONE


def reason_of(decision: Decision) -> tuple[Reason, str]:
    """Give the reason and the words: those of a refusal where one stands in the way."""
    verdict, refusal = decision.verdict, decision.refusal
    if refusal is None or refusal.reason in QUIET:
        return verdict.reason, verdict.message
    return refusal.reason, f"{verdict.message}. Not rolled back: {refusal.message}"


def blame_of(look: EvaluationResult, watch: Watch, name: Callable[[str], int | str]) -> Blamed:
    """Tell where the fault is, as far as the evidence shows one.

    Args:
        look: the verdict.
        watch: the counts that it was made from.
        name: names a revision by its template's hash.
    """
    verdict, current = look.verdict, look.case.workload.current
    leading = verdict.leading
    revision = name(current.pod_hash) if current is not None else None
    if verdict.cause in (Cause.UNAVAILABLE, Cause.STUCK_ROLLOUT, Cause.TRAFFIC_LOST):
        return Blamed(revision=revision)
    if verdict.symptoms and (leading is None or not leading.is_proved):
        return _by_symptom(verdict.symptoms, revision, watch)
    if leading is None or not leading.errors or current is None:
        return Blamed()
    is_suspected = verdict.value in (VerdictValue.SUSPECT, VerdictValue.BAD)
    if not (is_suspected or _is_shared(leading)):
        return Blamed()
    pods = {one.name: one for one in watch.pods}
    new = [
        one
        for one in watch.evidence.increments
        if one.pod in pods
        and pods[one.pod].pod_hash == current.pod_hash
        and one.route not in look.question.excluded_routes
        and leading.route in (None, one.route)
    ]
    route = leading.route or _bearer(new, lambda one: one.route)
    is_few = leading.veto is Reason.FEW_PODS_AFFECTED
    bad = _failing(new, leading) if is_few else frozenset()
    nodes = {pods[one].node for one in bad}
    return Blamed(
        revision=revision if is_suspected and leading.is_proved else None,
        route=route or None,
        pod=next(iter(bad)) if len(bad) == 1 else None,
        node=(nodes.pop() or None) if len(nodes) == 1 else None,
        shared_with_old=_is_shared(leading),
    )


def _by_symptom(symptoms: Sequence[Symptom], revision: int | str | None, watch: Watch) -> Blamed:
    one = min(symptoms, key=lambda each: each.veto is not None)
    pod = one.pods[0] if len(one.pods) == 1 and not one.is_on_every_pod else None
    nodes = {each.node for each in watch.pods if each.name == pod}
    return Blamed(
        revision=revision if one.veto is None else None,
        pod=pod,
        node=(nodes.pop() or None) if nodes else None,
        shared_with_old=one.veto is Reason.OLD_REVISION_FAILS_TOO,
    )


def _is_shared(one: ScopeVerdict) -> bool:
    """Tell whether the old revision has the fault as well."""
    if one.veto is Reason.OLD_REVISION_FAILS_TOO:
        return True
    if one.method is not Method.CONTROL or not one.requests or not one.control_requests:
        return False
    fails = one.rate_lower_bound > LEAST_CEILING
    return fails and one.control_errors / one.control_requests >= one.errors / one.requests / 2


def _bearer(new: list[Increment], of: Callable[[Increment], str]) -> str:
    """Name who has nearly all of the errors; empty: nobody."""
    sums: dict[str, float] = {}
    for one in new:
        sums[of(one)] = sums.get(of(one), 0.0) + one.errors
    name = max(sums, key=lambda key: sums[key], default="")
    return name if name and sums[name] >= CONCENTRATED_SHARE * sum(sums.values()) > 0 else ""


def _failing(new: list[Increment], one: ScopeVerdict) -> frozenset[str]:
    expected = one.control_errors / one.control_requests if one.control_requests else 0.0
    return failing(pod_counts(pod_counts_by_route(new)), expected)
