"""Values for tests, with defaults that say 'nothing is wrong': a test names only what it is about.

Times are seconds since the epoch from T0 on; `at(5)` is the same as a datetime.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rollback_operator.api.policy_status import Evaluation, ObservedCounts, PastCounts
from rollback_operator.api.reasons import Reason
from rollback_operator.api.remedy import ConfigMapRef, Flag, FlagPlan, FlagTaking
from rollback_operator.api.v1alpha1 import (
    Health,
    Hold,
    HoldReason,
    LedgerEntry,
    Mode,
    ObjectMeta,
    Outcome,
    PolicyRef,
    Remedy,
    RemedyType,
    RevisionRef,
    Rollback,
    RollbackPolicy,
    RollbackPolicySpec,
    RollbackRequest,
    RollbackSpec,
    RollbackStatus,
    RollbackTarget,
    StepName,
    StepStatus,
    TargetRef,
    Trigger,
    UndoTo,
    VerdictValue,
    rollback_of,
)
from rollback_operator.evidence.arms import Question
from rollback_operator.evidence.baseline import Control, RouteControl
from rollback_operator.model.context import Case
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters, CounterSeries
from rollback_operator.model.verdict import Blame, Method, ScopeVerdict, Verdict
from rollback_operator.model.workload import (
    Autoscaler,
    Bounds,
    ConfigRead,
    Deployment,
    ReplicaSet,
    Template,
    Workload,
)
from rollback_operator.stats.windows import Increment

T0 = 1_800_000_000.0
PURCHASE = "/api/v1/tickets/purchase"
RESERVE = "/api/v1/tickets/reserve"
LIST = "/api/v1/tickets"
NAMESPACE, NAME = "production", "ticket-service"


def at(seconds: float = 0.0) -> datetime:
    return datetime.fromtimestamp(T0 + seconds, UTC)


# -- workloads -------------------------------------------------------------------------------------


def make_template(version: str = "v2", **changes: Any) -> Template:
    template = Template(
        digest=f"digest-{version}",
        release=f"release-{version}",
        images=(f"registry.example.com/{NAME}:{version}",),
        containers=(NAME,),
    )
    return replace(template, **changes)


def make_deployment(version: str = "v2", **changes: Any) -> Deployment:
    deployment = Deployment(
        namespace=NAMESPACE,
        name=NAME,
        uid="deployment-uid",
        template=make_template(version),
        revision=int(version[1:]),
        replicas=4,
        updated=4,
        total=4,
        available=4,
    )
    return replace(deployment, **changes)


def make_replica_set(version: str = "v2", **changes: Any) -> ReplicaSet:
    replica_set = ReplicaSet(
        name=f"{NAME}-hash{version}",
        uid=f"rs-{version}",
        pod_hash=f"hash{version}",
        revision=int(version[1:]),
        template=make_template(version),
        created=T0,
        replicas=4,
    )
    return replace(replica_set, **changes)


def make_pod(number: int = 0, version: str = "v2", **changes: Any) -> Pod:
    pod = Pod(
        name=f"{NAME}-hash{version}-{number}",
        pod_hash=f"hash{version}",
        node=f"node-{number}",
        created=T0,
        started=T0 + 1,
        ready=True,
        ready_since=T0 + 2,
    )
    return replace(pod, **changes)


def make_pods(count: int = 4, version: str = "v2", **changes: Any) -> tuple[Pod, ...]:
    return tuple(make_pod(number, version, **changes) for number in range(count))


def make_autoscaler(least: int = 2, most: int = 4, **changes: Any) -> Autoscaler:
    """Who scales the Deployment; its bounds are a person's."""
    made = Autoscaler("shop-hpa", "hpa-uid", Bounds(least, most), set_by="kubectl")
    return replace(made, **changes)


def make_workload(version: str = "v2", older: Sequence[str] = ("v1",), **changes: Any) -> Workload:
    """The Deployment at `version`, fully rolled out, with older ReplicaSets to go back to."""
    workload = Workload(
        deployment=make_deployment(version),
        replica_sets=(
            make_replica_set(version),
            *(make_replica_set(one, replicas=0, created=T0 - 3600) for one in older),
        ),
        pods=make_pods(version=version),
    )
    return replace(workload, **changes)


PREVIOUS = {"type": "Undo", "to": "Previous"}


def request_raw(
    remedy: dict[str, Any] | None = None, seconds: float = 0, **spec: Any
) -> dict[str, Any]:
    """A Rollback that a person has made `seconds` after T0, as the API server gives it."""
    return {
        "metadata": {
            "name": "by-hand",
            "namespace": NAMESPACE,
            "uid": "uid-by-hand",
            "resourceVersion": "7",
            "creationTimestamp": at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "spec": {
            "policyRef": {"name": NAME},
            "remedy": remedy or PREVIOUS,
            "reason": "customers call",
            "seen": {"deployment": NAME, "revision": 2, "digest": "digest-v2"},
            **spec,
        },
    }


def make_request(
    remedy: dict[str, Any] | None = None, seconds: float = 0, **spec: Any
) -> RollbackRequest:
    made = rollback_of(request_raw(remedy, seconds, **spec))
    assert isinstance(made, RollbackRequest)
    return made


# -- counters --------------------------------------------------------------------------------------


def make_series(
    samples: Iterable[tuple[float, float]],
    pod: str = "pod-0",
    route: str = PURCHASE,
    **changes: Any,
) -> CounterSeries:
    """A counter; sample times are seconds after T0."""
    series = CounterSeries(
        pod=pod,
        route=route,
        identity=(),
        instance=f"{pod}:8080",
        samples=tuple((T0 + time, value) for time, value in samples),
    )
    return replace(series, **changes)


def make_counters(
    requests: Iterable[CounterSeries] = (), errors: Iterable[CounterSeries] = ()
) -> Counters:
    return Counters(tuple(requests), tuple(errors))


def make_increment(**changes: Any) -> Increment:
    """100 requests on the purchase route in five seconds; times are seconds after T0."""
    fields = {"pod": "pod-0", "route": PURCHASE, "start": 0.0, "end": 5.0}
    fields |= {"requests": 100.0, "errors": 0.0} | changes
    fields["start"] += T0
    fields["end"] += T0
    return Increment(**fields)


def make_control(
    requests: float = 180_000,
    errors: float = 180,
    worst_minute: float = 0.005,
    *,
    routes: Mapping[str, RouteControl] | None = None,
    **changes: Any,
) -> Control:
    """An hour of the old revision at 50 requests a second, 0.1 % of which failed."""
    pooled = RouteControl(requests, errors, worst_minute)
    each = {
        one: RouteControl(requests * share, errors * share, worst_minute)
        for one, share in ((LIST, 0.4), (RESERVE, 0.3), (PURCHASE, 0.3))
    }
    control = Control(
        seconds=3600.0,
        routes=each if routes is None else routes,
        busiest_minute=requests / 3600 * 1.2,
        pooled=pooled,
    )
    return replace(control, **changes)


def make_question(**changes: Any) -> Question:
    question = Question(
        purchase_routes=(PURCHASE, RESERVE),
        excluded_routes=frozenset({"/health/live", "/metrics"}),
        watch_seconds=3600.0,
        stuck_after=300.0,
    )
    return replace(question, **changes)


# -- verdicts --------------------------------------------------------------------------------------


def make_scope(route: str | None = None, **changes: Any) -> ScopeVerdict:
    """Proof that all requests on a route fail, from the first one on."""
    scope = ScopeVerdict(
        route=route,
        method=Method.HISTORY,
        requests=100.0,
        errors=100.0,
        control_requests=36_000.0,
        control_errors=36.0,
        odds=1e8,
        rate_lower_bound=0.963,
        has_all_failed=True,
        first_bad=T0 + 5,
        blame=Blame(9_331.0, True, 0.0),
        pods_failing=4,
        pods=4,
    )
    return replace(scope, **changes)


def make_verdict(*scopes: ScopeVerdict, **changes: Any) -> Verdict:
    """A release that is proved bad: all purchases fail."""
    verdict = Verdict(
        value=VerdictValue.BAD,
        reason=Reason.ERROR_RATE_ABOVE_CONTROL,
        message="all purchases fail",
        scopes=scopes or (make_scope(None, rate_lower_bound=0.25), make_scope(PURCHASE)),
        first_bad=T0 + 5,
        newest_sample=T0 + 10,
    )
    return replace(verdict, **changes)


def make_watching(**changes: Any) -> Verdict:
    """Nothing speaks against the release."""
    clean = make_scope(errors=0.0, odds=0.0, rate_lower_bound=0.0, has_all_failed=False)
    return make_verdict(
        replace(clean, first_bad=None, blame=None, unmet="0 of 10 errors"),
        **{
            "value": VerdictValue.WATCHING,
            "reason": Reason.NO_EVIDENCE_AGAINST,
            "message": "nothing speaks against it",
            "first_bad": None,
        }
        | changes,
    )


# -- resources -------------------------------------------------------------------------------------


def make_policy(name: str = NAME, **changes: Any) -> RollbackPolicy:
    """A policy in mode Enforce with the runbook's defaults; `changes` are fields of its spec."""
    spec = {"target_ref": TargetRef(name=NAME), "mode": Mode.ENFORCE} | changes
    return RollbackPolicy(
        metadata=ObjectMeta(
            name=name,
            namespace=NAMESPACE,
            uid=f"policy-{name}"[-64:],
            generation=1,
            resource_version="1",
            creation_timestamp=at(-86400),
        ),
        spec=RollbackPolicySpec(**spec),
    )


def make_evaluation(**changes: Any) -> Evaluation:
    """Of v2 at 299 s, whose release began at 277 s and fails more than v1."""
    found = Evaluation(
        time=at(299),
        revision=2,
        since_time=at(277),
        new=ObservedCounts(pods=2, requests=150, errors=81),
        old=ObservedCounts(pods=3, requests=300, errors=1),
        past=PastCounts(seconds=3600, requests=180_000, errors=180),
        odds="350",
        route=PURCHASE,
        blame_odds="9331",
        suspect_odds=100,
        bad_odds=10_000,
        reason=Reason.EVIDENCE_GATHERING,
        message="81 of 150 requests failed",
    )
    return found.model_copy(update=changes)


def make_entry(version: str = "v1", health: Health = Health.GOOD, **changes: Any) -> LedgerEntry:
    template = make_template(version)
    fields = {
        "number": int(version[1:]),
        "template_hash": f"hash{version}",
        "digest": template.digest,
        "release": template.release,
        "images": list(template.images),
        "since": at(-3600),
        "health": health,
    }
    return LedgerEntry(**(fields | changes))


def make_ref(version: str, **changes: Any) -> RevisionRef:
    template = make_template(version)
    fields = {
        "number": int(version[1:]),
        "template_hash": f"hash{version}",
        "digest": template.digest,
        "release": template.release,
        "images": list(template.images),
        "replica_set": f"{NAME}-hash{version}",
        "replica_set_uid": f"rs-{version}",
    }
    return RevisionRef(**(fields | changes))


def make_trigger_record(**changes: Any) -> Trigger:
    fields = {
        "reason": Reason.ERROR_RATE_ABOVE_CONTROL,
        "message": "all purchases fail",
        "decided_time": at(10),
        "requests": 100,
        "errors": 100,
        "control_requests": 36_000,
        "control_errors": 36,
        "odds": "100000000 : 1",
    }
    return Trigger(**(fields | changes))


UNDO = Remedy(type=RemedyType.UNDO, to=UndoTo.LAST_KNOWN_GOOD)
CONFIG_MAP, FLAG = "ticket-service-config", "FEATURE_NEW_CHECKOUT"
DISABLE = Remedy(
    type=RemedyType.DISABLE_FLAG,
    flag=Flag(name=FLAG, value="false", config_map_ref=ConfigMapRef(name=CONFIG_MAP)),
)
READ = ConfigRead(CONFIG_MAP, (FLAG,))
"""A variable of a container."""
MOUNTED = ConfigRead(CONFIG_MAP, is_mounted=True)


def make_flag_plan(**changes: Any) -> FlagPlan:
    fields = {"config_map_uid": "config-map-uid", "old_value": "true"}
    return FlagPlan(**(fields | {"taken_by": FlagTaking.RESTART} | changes))


def make_flag_rollback(
    name: str = "ticket-service-f1a9000000", status: RollbackStatus | None = None, **changes: Any
) -> Rollback:
    """A flag of v2 is set; `changes` are fields of its spec."""
    fields = {"remedy": DISABLE, "to_revision": None, "flag": make_flag_plan()}
    return make_rollback(name, status, **(fields | changes))


def make_rollback(
    name: str = "ticket-service-0123456789", status: RollbackStatus | None = None, **changes: Any
) -> Rollback:
    """An active undo from v2 to v1; `changes` are fields of its spec."""
    fields = {
        "policy_ref": PolicyRef(name=NAME, uid=f"policy-{NAME}"),
        "target_ref": RollbackTarget(name=NAME, uid="deployment-uid"),
        "mode": Mode.ENFORCE,
        "severity": "P1",
        "remedy": UNDO,
        "from_revision": make_ref("v2", health=Health.BAD),
        "to_revision": make_ref("v1", health=Health.GOOD),
        "trigger": make_trigger_record(),
    }
    return Rollback(
        metadata=ObjectMeta(
            name=name, namespace=NAMESPACE, uid=f"uid-{name}", creation_timestamp=at(10)
        ),
        spec=RollbackSpec(**(fields | changes)),
        status=status or RollbackStatus(),
    )


def make_step(name: StepName, started: float, finished: float | None = None) -> StepStatus:
    return StepStatus(
        name=name,
        started_time=at(started),
        finished_time=None if finished is None else at(finished),
    )


def make_ended(outcome: Outcome = Outcome.VERIFIED, finished: float = 60.0) -> RollbackStatus:
    return RollbackStatus(outcome=outcome, finished_time=at(finished))


def make_hold(reason: HoldReason = HoldReason.SUSPICION, **changes: Any) -> Hold:
    """Version v2 is held since 20 s, for 300 s on suspicion or for 120 s as a stage."""
    seconds = {HoldReason.SUSPICION: 300, HoldReason.STAGE: 120}[reason]
    hold = Hold(
        reason=reason,
        message="it fails more",
        deployment=NAME,
        deployment_uid="deployment-uid",
        digest="digest-v2",
        since_time=at(20),
        until_time=at(20 + seconds),
        paused_time=at(20),
    )
    return hold.model_copy(update=changes)


def make_case(
    policy: RollbackPolicy | None = None,
    workload: Workload | None = None,
    ledger: Sequence[LedgerEntry] = (make_entry("v1"),),
    rollbacks: Sequence[Rollback] = (),
) -> Case:
    return Case(policy or make_policy(), workload or make_workload(), ledger, rollbacks)
