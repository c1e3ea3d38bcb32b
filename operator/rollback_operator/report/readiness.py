"""Can a policy do its work? The condition Ready, with the field at fault and the remedy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollback_operator.api.reasons import IDLE, Reason
from rollback_operator.api.remedy import Flag
from rollback_operator.api.v1alpha1 import Condition, Mode, RollbackPolicy
from rollback_operator.decide import matrix
from rollback_operator.model.workload import Deployment
from rollback_operator.remedies import flags, gitops
from rollback_operator.report import status


@dataclass(frozen=True, slots=True)
class Around:
    """What else there is that bears on a policy."""

    stopped: str = ""
    """Who has stopped everything, when and why; empty: nobody has."""
    is_address_allowed: bool = True
    is_tenant_allowed: bool = True
    are_queries_allowed: bool = True
    older_policy: str = ""
    """Name of an older policy on the same target; empty when there is none."""
    refused_probes: tuple[str, ...] = ()
    """Functional probes whose host the operator may not call."""
    credentials_obstacle: str = ""
    """Why the policy's own credentials for Prometheus cannot be had, and the field."""
    owner_obstacle: str = ""
    """Why who else steers the target could not be suspended; empty: nothing speaks against it."""
    unusable_flags: Mapping[Flag, str] = field(default_factory=dict)
    """Flags of remedies that could not be set, and why."""
    missing_rights: tuple[str, ...] = ()
    """What the operator may not do that only some policies take, and what follows."""
    unprotected: str = ""
    """Why nobody's decision would count where a person is asked; empty: it would, or nobody is."""
    frozen: str = ""
    """The freeze that is on, and until when; empty when there is none."""


def readiness(policy: RollbackPolicy, deployment: Deployment | None, around: Around) -> Condition:
    """Tell whether a policy can do its work, and what to do where it cannot."""
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
    """Say what is wrong with a policy, whatever its target is like."""
    spec = policy.spec
    faults = matrix.faults(spec.matrix)
    faults += matrix.unknown_probes(spec.matrix, (one.name for one in spec.verification.http))
    if faults:
        return status.not_ready(Reason.INVALID_MATRIX, "; ".join(faults))
    if not around.is_address_allowed:
        return status.not_ready(
            Reason.ADDRESS_NOT_ALLOWED,
            f"spec.prometheus.url: {spec.prometheus.url} is neither the operator's Prometheus nor "
            "a Service of this namespace: have its host listed, in allowedPrometheusHosts of the "
            "chart (--allowed-prometheus-hosts)",
        )
    if not around.is_tenant_allowed:
        return status.not_ready(
            Reason.TENANT_NOT_ALLOWED, tenant_refused(spec.prometheus.tenant or "")
        )
    if not around.are_queries_allowed:
        return status.not_ready(
            Reason.QUERY_NOT_ALLOWED,
            "spec.matrix: own queries (signal Query) are put to a shared Prometheus only with the "
            "policy's own login: set spec.prometheus.bearerTokenSecretRef or basicAuthSecretRef, "
            "read a Prometheus of this namespace, or take the condition out (ownQueries of the "
            "chart, --own-queries)",
        )
    if around.older_policy:
        return status.not_ready(
            Reason.TARGET_ALREADY_WATCHED,
            f"spec.targetRef: the older policy {around.older_policy} watches Deployment "
            f"{spec.target_ref.name}",
        )
    return None


def _surrounded(policy: RollbackPolicy, found: Condition, around: Around) -> Condition:
    """Say of a policy that can do its work what will keep it from it."""
    if around.owner_obstacle and found.reason == Reason.GITOPS_OWNER and found.status == "True":
        return status.not_ready(
            Reason.GITOPS_OWNER,
            f"{found.message}, but cannot be: {around.owner_obstacle}. A rollback would be Blocked",
        )
    if around.credentials_obstacle and found.status == "True" and found.reason not in IDLE:
        return status.not_ready(
            Reason.CREDENTIALS_UNAVAILABLE,
            f"{around.credentials_obstacle}. Without it Prometheus is not read, and releases are "
            "judged by what Kubernetes shows alone",
        )
    if around.refused_probes and found.status == "True" and found.reason not in IDLE:
        # Told at once: in the night no rollback could be verified.
        return status.not_ready(
            Reason.PROBE_NOT_ALLOWED,
            f"spec.verification.http: the hosts of {', '.join(around.refused_probes)} are neither "
            f"Services of this namespace, as <service>.{policy.metadata.namespace}.svc, nor among "
            "the operator's allowed hosts: no rollback will be Verified",
        )
    if around.unusable_flags and found.status == "True" and found.reason not in IDLE:
        return _without_flags(policy, around.unusable_flags)
    return _noted(policy, found, around)


def _noted(policy: RollbackPolicy, found: Condition, around: Around) -> Condition:
    """Say what keeps a policy from a part of its work only."""
    if found.status != "True" or found.reason == Reason.SUSPENDED:
        return found
    if around.frozen:
        said = f"spec.safety.freeze: {around.frozen}: releases are judged and reported only"
        return status.ready(Reason.FREEZE_ACTIVE, said)
    if around.missing_rights and found.reason not in IDLE:
        return status.ready(Reason.RIGHT_MISSING, "; ".join(around.missing_rights))
    if around.unprotected and found.reason not in IDLE:
        said = (
            f"a rollback that asks a person could not be approved: {around.unprotected}; the "
            "chart's admission.create installs it. To go back until then: kubectl rollout undo "
            f"deployment/{policy.spec.target_ref.name} -n {policy.metadata.namespace}"
        )
        return status.ready(Reason.APPROVAL_UNPROTECTED, said)
    return found


def _without_flags(policy: RollbackPolicy, unusable: Mapping[Flag, str]) -> Condition:
    """Say which flags could not be set, and what would be done instead."""
    listed = "; ".join(f"{flags.named(flag)}: {why}" for flag, why in unusable.items())
    said = f"spec.remedies: {listed}"
    helpless = flags.helpless(policy, unusable)
    if helpless:
        left = f"for {', '.join(helpless)} no other remedy is left: nothing would be done"
        return status.not_ready(Reason.FLAG_UNUSABLE, f"{said}; {left}")
    return status.ready(Reason.FLAG_UNUSABLE, f"{said}; the next remedy would be taken")


def _target_readiness(policy: RollbackPolicy, deployment: Deployment) -> Condition:
    if policy.spec.suspend:
        return status.ready(Reason.SUSPENDED, "spec.suspend is true: nothing is judged or done")
    obstacles = (
        (
            deployment.paused and not deployment.is_held,
            Reason.TARGET_PAUSED,
            "the Deployment is paused and can be neither judged nor undone: "
            f"kubectl rollout resume deployment/{deployment.name} -n {deployment.namespace}",
        ),
        (
            deployment.replicas == 0,
            Reason.TARGET_SCALED_TO_ZERO,
            f"the Deployment has no replicas: there is nothing to judge{_driven(deployment)}",
        ),
        (
            deployment.history_limit == 0,
            Reason.NO_HISTORY,
            "spec.revisionHistoryLimit of the Deployment is 0: there is never a revision to go "
            "back to, nor one to compare with; set it above 0",
        ),
    )
    for is_met, reason, message in obstacles:
        if is_met:
            return status.not_ready(reason, message)
    is_enforced = policy.spec.mode is Mode.ENFORCE
    pushed = gitops.warning(deployment.updaters) if is_enforced else ""
    if deployment.owner is not None and is_enforced:
        # Told at once, not in the night when it matters.
        response = policy.spec.safety.git_ops
        refused = gitops.refusal(deployment.owner, response)
        if refused is None:
            said = (gitops.outlook(deployment.owner, response), pushed)
            return status.ready(Reason.GITOPS_OWNER, "; ".join(filter(None, said)))
        reason, message = refused
        return status.not_ready(reason, f"{message}. Releases are judged and reported only")
    return _pushed(_limits(deployment), pushed)


def _driven(deployment: Deployment) -> str:
    """Say who has taken the replicas away, where it is a rollout tool."""
    owner = deployment.owner
    if owner is None or not owner.is_rollout_tool:
        return ""
    return f". {owner.kind} drives it ({owner.evidence}): {owner.remedy}"


def _pushed(found: Condition, by: str) -> Condition:
    """Add to a policy that can do its work who may push again what is taken back."""
    if not by:
        return found
    said = f"{by}; {found.message}" if found.message else by
    return status.ready(Reason.IMAGE_UPDATER, said)


def _limits(deployment: Deployment) -> Condition:
    """Say what a target's own shape costs the judgement."""
    if deployment.strategy == "Recreate":
        return status.ready(
            Reason.RECREATE_STRATEGY,
            "strategy Recreate leaves no old pod to compare with: the old revision's last hour is "
            "the control, and an outage is told from a start only after the progress deadline",
        )
    if deployment.replicas == 1:
        return status.ready(
            Reason.SINGLE_REPLICA, "one replica: a bad release cannot be told from a bad pod"
        )
    return status.ready(Reason.WATCHING_TARGET)


def tenant_refused(tenant: str) -> str:
    """Say that a policy may not have a tenant's metrics read."""
    return (
        f"spec.prometheus.tenant: policies of this namespace may not have the metrics of tenant "
        f"{tenant} read at a Prometheus outside it: have the operator's owner list "
        "NAMESPACE/TENANT in allowedTenants of the chart (--allowed-tenants)"
    )


def not_found(name: str, namespace: str) -> str:
    """Say that the target is missing."""
    return (
        f"spec.targetRef.name: there is no Deployment {name} in this namespace: correct the name "
        f"(see: kubectl get deployments -n {namespace}), or create it"
    )
