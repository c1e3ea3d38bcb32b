"""One entry of a replay: the verdict, the action, the evidence and the blame."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import Response, Severity, VerdictValue
from rollback_operator.decide import asking
from rollback_operator.decide.decide import Decision
from rollback_operator.decide.evaluate import EvaluationResult
from rollback_operator.evidence.limits import LEAST_CEILING
from rollback_operator.evidence.watch import Watch
from rollback_operator.judge.affected import failing, pod_counts, pod_counts_by_route
from rollback_operator.model.samples import Missing
from rollback_operator.model.verdict import AGAINST_RELEASE, Cause, Method, ScopeVerdict, Symptom
from rollback_operator.report.status import is_quiet
from rollback_operator.stats.windows import Increment

CONCENTRATED_SHARE = 0.8
"""A route, a pod or a node with this share of the errors has the fault."""


class Action(StrEnum):
    """The action that follows from an evaluation."""

    NONE = "None"
    PAUSE = "Pause"
    ROLLBACK = "Rollback"
    ASK = "Ask"
    """People are asked whether the release is to blame, and a rollback waits for their answer."""
    INVESTIGATE = "Investigate"
    REPORT = "Report"
    NOTIFY = "Notify"
    """People are notified of a fault, and no action follows."""


@dataclass(frozen=True, slots=True)
class Blamed:
    """Where the fault is. All empty: there is no fault, or its place is unknown."""

    revision: int | str | None = None
    """The release that is to blame, as the rollouts name it."""
    route: str | None = None
    pod: str | None = None
    node: str | None = None
    shared_with_old: bool = False
    """The old revision has the same fault: a rollback would not help."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The result of an evaluation at a virtual moment."""

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
    """Slow signals that could not be read (latency, memory, an own query), with the reason."""
    blame: Blamed = Blamed()

    @property
    def state(self) -> tuple[object, ...]:
        """The part that a new decision changes; times and counts change all the time."""
        return self.verdict, self.severity, self.action, self.reason


def action_of(evaluation: EvaluationResult, verdict: VerdictValue) -> Action:
    """Return the action that follows from an evaluation."""
    decision = evaluation.decision
    refusal = decision.refusal
    decided = _decided(evaluation)
    if decided is not None:
        return decided
    if refusal is not None and not is_quiet(refusal):
        return Action.NOTIFY
    if evaluation.hold is not None and evaluation.hold.is_open:
        return Action.PAUSE
    if refusal is not None:
        # Without a response the release is not shown to be the cause, and nobody has answered.
        is_unanswered = decision.response is None and decision.severity is not Severity.NONE
        return Action.NOTIFY if is_unanswered else Action.NONE
    responses = {Response.INVESTIGATE: Action.INVESTIGATE, Response.REPORT: Action.REPORT}
    if decision.response in responses:
        return responses[decision.response]
    leading = decision.verdict.leading
    is_vetoed = verdict is VerdictValue.SUSPECT and (leading is None or not leading.is_proved)
    is_notified = is_vetoed or decision.doubted is not Severity.NONE
    return Action.NOTIFY if is_notified else Action.NONE


def _decided(evaluation: EvaluationResult) -> Action | None:
    """Return the action of a plan or of a question; None: there is none."""
    decision, question = evaluation.decision, asking.question_of(evaluation.case)
    is_planned = decision.plan is not None and not decision.plan.requires_approval
    if is_planned or (question is not None and decision.response is Response.ROLLBACK):
        return Action.ROLLBACK
    return Action.ASK if decision.is_asked else None


def reason_of(decision: Decision) -> tuple[Reason, str]:
    """Return the reason and the message: those of the refusal, if any."""
    verdict, refusal = decision.verdict, decision.refusal
    if decision.proceeds:
        return verdict.reason, f"{verdict.message}. Rolled back: {decision.proceeds}"
    if refusal is None or is_quiet(refusal):
        return verdict.reason, decision.evidence
    return refusal.reason, f"{decision.evidence}. Not rolled back: {refusal.message}"


def blame_of(
    evaluation: EvaluationResult, watch: Watch, label: Callable[[str], int | str]
) -> Blamed:
    """Locate the fault, as far as the evidence shows it.

    Args:
        evaluation: with the verdict.
        watch: the counts behind the verdict.
        label: returns the name of a revision by its template hash.
    """
    verdict, current = evaluation.verdict, evaluation.case.workload.current
    leading = verdict.leading
    revision = label(current.pod_hash) if current is not None else None
    if verdict.cause in (Cause.UNAVAILABLE, Cause.STUCK_ROLLOUT, Cause.TRAFFIC_LOST):
        return Blamed(revision=revision)
    if verdict.symptoms and (leading is None or not leading.is_proved):
        return _by_symptom(verdict.symptoms, revision, watch)
    if leading is None or not leading.errors or current is None:
        return Blamed()
    is_suspected = verdict.value in AGAINST_RELEASE
    if not (is_suspected or _is_shared(leading)):
        return Blamed()
    pods = {pod.name: pod for pod in watch.pods}
    new = [
        increment
        for increment in watch.evidence.increments
        if increment.pod in pods
        and pods[increment.pod].pod_hash == current.pod_hash
        and increment.route not in evaluation.question.excluded_routes
        and leading.route in (None, increment.route)
    ]
    is_few = leading.veto is Reason.FEW_PODS_AFFECTED
    bad = _failing(new, leading) if is_few else frozenset()
    nodes = {pods[name].node for name in bad}
    return Blamed(
        revision=revision if is_suspected and leading.is_proved else None,
        route=leading.route or _route_with_most_errors(new),
        pod=next(iter(bad)) if len(bad) == 1 else None,
        node=(nodes.pop() or None) if len(nodes) == 1 else None,
        shared_with_old=_is_shared(leading),
    )


def _by_symptom(symptoms: Sequence[Symptom], revision: int | str | None, watch: Watch) -> Blamed:
    symptom = min(symptoms, key=lambda each: each.veto is not None)
    is_one_pod = len(symptom.pods) == 1 and not symptom.is_on_every_pod
    pod = symptom.pods[0] if is_one_pod else None
    nodes = {each.node for each in watch.pods if each.name == pod}
    return Blamed(
        revision=revision if symptom.veto is None else None,
        pod=pod,
        node=(nodes.pop() or None) if nodes else None,
        shared_with_old=symptom.veto is Reason.OLD_REVISION_FAILS_TOO,
    )


def _is_shared(scope: ScopeVerdict) -> bool:
    """Tell whether the old revision has the fault as well."""
    if scope.veto is Reason.OLD_REVISION_FAILS_TOO:
        return True
    if scope.method is not Method.CONTROL or not scope.requests or not scope.control_requests:
        return False
    control_rate = scope.control_errors / scope.control_requests
    is_failing = scope.rate_lower_bound > LEAST_CEILING
    return is_failing and control_rate >= scope.errors / scope.requests / 2


def _route_with_most_errors(new: list[Increment]) -> str | None:
    """Return the route with nearly all errors, if any."""
    errors: dict[str, float] = {}
    for increment in new:
        errors[increment.route] = errors.get(increment.route, 0.0) + increment.errors
    route = max(errors, key=lambda key: errors[key], default="")
    is_concentrated = errors.get(route, 0.0) >= CONCENTRATED_SHARE * sum(errors.values()) > 0
    return route if route and is_concentrated else None


def _failing(new: list[Increment], scope: ScopeVerdict) -> frozenset[str]:
    requests = scope.control_requests
    return failing(
        pod_counts(pod_counts_by_route(new)), scope.control_errors / requests if requests else 0.0
    )
