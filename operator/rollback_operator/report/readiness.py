"""The condition Ready of a policy, with the faulty field and the remedy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollback_operator.api.reasons import IDLE, Reason
from rollback_operator.api.remedy import Flag
from rollback_operator.api.v1alpha1 import Condition, Mode, RollbackPolicy
from rollback_operator.decide import matrix
from rollback_operator.model import stop
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies import flags, gitops
from rollback_operator.report import status


@dataclass(frozen=True, slots=True)
class Around:
    """Facts beside policy and Deployment that affect whether a policy is ready."""

    stopped: str = ""
    """Who stopped all operators, when and why; empty: nobody did."""
    is_address_allowed: bool = True
    is_tenant_allowed: bool = True
    are_queries_allowed: bool = True
    older_policy: str = ""
    """Name of an older policy on the same target; empty when there is none."""
    refused_probes: tuple[str, ...] = ()
    """Functional probes whose host the operator may not call."""
    credentials_obstacle: str = ""
    """Why the policy's own credentials for Prometheus cannot be read, with the field."""
    owner_obstacle: str = ""
    """Why the GitOps owner of the target could not be suspended; empty: it could be."""
    unusable_flags: Mapping[Flag, str] = field(default_factory=dict)
    """Flags of remedies that could not be set, and why."""
    missing_rights: tuple[str, ...] = ()
    """Missing permissions that only some policies need, with the consequence."""
    unprotected: str = ""
    """Why no approval would be accepted; empty: it would be, or none is required."""
    unusable_channels: tuple[str, ...] = ()
    """Channels of spec.notify whose Secret is unusable, each with the reason and the remedy."""
    frozen: str = ""
    """The freeze that is on, and until when; empty when there is none."""


def readiness(policy: RollbackPolicy, deployment: Deployment | None, around: Around) -> Condition:
    """Report whether a policy is ready, and the remedy if it is not."""
    if around.stopped:
        return status.not_ready(Reason.EVERYTHING_SUSPENDED, around.stopped)
    refused = _refused(policy, around)
    if refused is not None:
        return refused
    if deployment is None:
        return status.not_ready(
            Reason.TARGET_NOT_FOUND,
            not_found(policy.spec.target_ref.name, policy.metadata.namespace),
        )
    return _surrounded(policy, _target_readiness(policy, deployment), around)


def _refused(policy: RollbackPolicy, around: Around) -> Condition | None:
    """Report a fault of the policy itself, independent of its target."""
    spec = policy.spec
    faults = matrix.faults(spec.matrix)
    faults += matrix.unknown_names(spec.matrix, spec)
    if faults:
        return status.not_ready(Reason.INVALID_MATRIX, "; ".join(faults))
    if not around.is_address_allowed:
        return status.not_ready(
            Reason.ADDRESS_NOT_ALLOWED,
            f"spec.prometheus.url: {spec.prometheus.url} is neither the operator's Prometheus nor "
            "a Service of this namespace: add its host to allowedPrometheusHosts of the chart "
            "(--allowed-prometheus-hosts)",
        )
    if not around.is_tenant_allowed:
        return status.not_ready(
            Reason.TENANT_NOT_ALLOWED, tenant_refused(spec.prometheus.tenant or "")
        )
    if not around.are_queries_allowed:
        return status.not_ready(
            Reason.QUERY_NOT_ALLOWED,
            "spec.matrix: own queries (signal Query) are sent to a shared Prometheus only with the "
            "policy's own credentials: set spec.prometheus.bearerTokenSecretRef or "
            "basicAuthSecretRef, use a Prometheus of this namespace, or remove the condition "
            "(ownQueries of the chart, --own-queries)",
        )
    if around.older_policy:
        return status.not_ready(
            Reason.TARGET_ALREADY_WATCHED,
            f"spec.targetRef: the older policy {around.older_policy} watches Deployment "
            f"{spec.target_ref.name}",
        )
    return None


def _surrounded(policy: RollbackPolicy, condition: Condition, around: Around) -> Condition:
    """Report an obstacle to the rollbacks of a policy that is otherwise ready, or a limit."""
    if condition.status != "True" or condition.reason == Reason.SUSPENDED:
        return condition
    # Without the owner's suspension every rollback is blocked: that comes first.
    if around.owner_obstacle and condition.reason == Reason.GITOPS_OWNER:
        return status.not_ready(
            Reason.GITOPS_OWNER,
            f"{condition.message}, but cannot be: {around.owner_obstacle}. It is read "
            "again before each rollback, which is Blocked if that is still so",
        )
    is_idle = condition.reason in IDLE
    obstacle = None if is_idle else _obstacle_around(policy, around)
    if obstacle is not None:
        return obstacle
    if around.frozen:
        message = f"spec.safety.freeze: {around.frozen}: releases are judged and reported only"
        return status.ready(Reason.FREEZE_ACTIVE, message)
    limit = None if is_idle else _limit_around(policy, around)
    return limit if limit is not None else condition


def _obstacle_around(policy: RollbackPolicy, around: Around) -> Condition | None:
    if around.credentials_obstacle:
        return status.not_ready(
            Reason.CREDENTIALS_UNAVAILABLE,
            f"{around.credentials_obstacle}. Until then Prometheus is not read, and releases are "
            "judged by their Kubernetes status only",
        )
    if around.refused_probes:
        # Reported before an incident: no rollback could be verified.
        return status.not_ready(
            Reason.PROBE_NOT_ALLOWED,
            f"spec.verification.http: the hosts of {', '.join(around.refused_probes)} are neither "
            f"Services of this namespace, as <service>.{policy.metadata.namespace}.svc, nor among "
            "the operator's allowed hosts: no rollback will be Verified",
        )
    return _without_flags(policy, around.unusable_flags) if around.unusable_flags else None


def _limit_around(policy: RollbackPolicy, around: Around) -> Condition | None:
    if around.missing_rights:
        return status.ready(Reason.RIGHT_MISSING, "; ".join(around.missing_rights))
    if around.unprotected:
        return status.ready(
            Reason.APPROVAL_UNPROTECTED,
            f"a rollback that requires approval could not be approved: {around.unprotected}; the "
            "chart's admission.create installs it. To roll back until then: kubectl rollout undo "
            f"deployment/{policy.spec.target_ref.name} -n {policy.metadata.namespace}",
        )
    if around.unusable_channels:
        listed = "; ".join(around.unusable_channels)
        return status.ready(Reason.CHANNEL_UNUSABLE, f"spec.notify: no message arrives: {listed}")
    return None


def _without_flags(policy: RollbackPolicy, unusable: Mapping[Flag, str]) -> Condition:
    """Report the flags that could not be set, and the remedy that would follow."""
    listed = "; ".join(f"{flags.named(flag)}: {why}" for flag, why in unusable.items())
    message = f"spec.remedies: {listed}"
    helpless = flags.helpless(policy, unusable)
    if helpless:
        left = f"for {', '.join(helpless)} no other remedy remains: the operator would not act"
        return status.not_ready(Reason.FLAG_UNUSABLE, f"{message}; {left}")
    return status.ready(Reason.FLAG_UNUSABLE, f"{message}; the next remedy would be used")


def _target_readiness(policy: RollbackPolicy, deployment: Deployment) -> Condition:
    if policy.spec.suspend:
        message = "spec.suspend is true: automatic evaluation and rollback are suspended"
        why = stop.suspension_reason(policy.metadata.annotations)
        return status.ready(Reason.SUSPENDED, f"{message}; {why}" if why else message)
    obstacle = _obstacle(deployment)
    if obstacle is not None:
        return obstacle
    is_enforced = policy.spec.mode is Mode.ENFORCE
    pushed = gitops.warning(deployment.updaters) if is_enforced else ""
    if deployment.owner is not None and is_enforced:
        # Reported before an incident.
        response = policy.spec.safety.git_ops
        refused = gitops.refusal(deployment.owner, response)
        if refused is None:
            messages = (gitops.outlook(deployment.owner, response), pushed)
            return status.ready(Reason.GITOPS_OWNER, "; ".join(filter(None, messages)))
        reason, message = refused
        return status.not_ready(reason, f"{message}. Releases are judged and reported only")
    return _pushed(_limits(deployment), pushed)


def _obstacle(deployment: Deployment) -> Condition | None:
    """Report why no release of a Deployment can be judged or rolled back."""
    # Somebody paused it: there is no rollout to judge, and Kubernetes refuses an undo.
    if deployment.paused and not deployment.is_held:
        return status.not_ready(
            Reason.TARGET_PAUSED,
            "the Deployment is paused, so no release can be judged or rolled back: "
            f"kubectl rollout resume deployment/{deployment.name} -n {deployment.namespace}",
        )
    # Without pods there is no evidence.
    if deployment.is_stopped:
        return status.not_ready(
            Reason.TARGET_SCALED_TO_ZERO,
            "the operator has stopped its traffic, so that it has no replicas. They are restored "
            "when the bad release no longer runs: deploy another release, or go back by "
            f"kubectl rollout undo deployment/{deployment.name} -n {deployment.namespace}",
        )
    if deployment.replicas == 0:
        return status.not_ready(
            Reason.TARGET_SCALED_TO_ZERO,
            f"the Deployment has no replicas: there is nothing to judge{_driven(deployment)}",
        )
    # Kubernetes keeps no ReplicaSet of an earlier revision.
    if deployment.history_limit == 0:
        return status.not_ready(
            Reason.NO_HISTORY,
            "spec.revisionHistoryLimit of the Deployment is 0: no earlier revision is kept for a "
            "rollback or a comparison; set it above 0",
        )
    return None


def _driven(deployment: Deployment) -> str:
    """Name the rollout tool that scales the Deployment; empty: there is none."""
    owner = deployment.owner
    if owner is None or not owner.is_rollout_tool:
        return ""
    return f". {owner.kind} controls it ({owner.evidence}): {owner.remedy}"


def _pushed(condition: Condition, by: str) -> Condition:
    """Add the image updater that may deploy a rolled-back image again."""
    if not by:
        return condition
    message = f"{by}; {condition.message}" if condition.message else by
    return status.ready(Reason.IMAGE_UPDATER, message)


def _limits(deployment: Deployment) -> Condition:
    """Report limits of the evaluation that follow from the target's shape."""
    if deployment.strategy == "Recreate":
        return status.ready(
            Reason.RECREATE_STRATEGY,
            "strategy Recreate leaves no old pod to compare with: the control is the old "
            "revision's "
            "last hour, and an outage is distinguished from a slow start only after the progress "
            "deadline",
        )
    if deployment.replicas == 1:
        return status.ready(
            Reason.SINGLE_REPLICA,
            "one replica: a bad release cannot be distinguished from a bad pod",
        )
    return status.ready(Reason.WATCHING_TARGET)


def tenant_refused(tenant: str) -> str:
    """Report that a policy may not read the metrics of a tenant."""
    return (
        f"spec.prometheus.tenant: policies of this namespace may not read the metrics of tenant "
        f"{tenant} from a Prometheus outside it: add NAMESPACE/TENANT to allowedTenants of the "
        "chart (--allowed-tenants)"
    )


def not_found(name: str, namespace: str) -> str:
    """Report that the target does not exist."""
    return (
        f"spec.targetRef.name: there is no Deployment {name} in this namespace: correct the name "
        f"(see: kubectl get deployments -n {namespace}), or create it"
    )
