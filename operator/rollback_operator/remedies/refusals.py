"""Who refused a write, from the text of the API server, for the first words of a message.

The texts are those of Kubernetes 1.30 to 1.34: RBAC, ValidatingAdmissionPolicy, admission webhooks
and ResourceQuota.
"""

import re
from typing import Final

from rollback_operator.api.v1alpha1 import RemedyType, Rollback, StepName
from rollback_operator.model import commands

_FORBIDDEN: Final = re.compile(r'cannot (\w+) resource "([\w./-]{1,253})"')
_POLICY: Final = re.compile(r"ValidatingAdmissionPolicy ['\"]([\w.-]{1,253})['\"]")
_WEBHOOK: Final = re.compile(r'admission webhook "([\w.-]{1,253})"')
_QUOTA: Final = "exceeded quota"


def refused_by(answer: str, what: str) -> str:
    """State who refused a write.

    Args:
        answer: the text of the API server.
        what: the object that was to be changed, such as "Deployment shop".
    """
    # In this order: the text of a webhook or a policy may quote anything.
    for pattern, kind in ((_WEBHOOK, "webhook"), (_POLICY, "policy")):
        if match := pattern.search(answer):
            return f"the admission {kind} {match[1]} does not allow the change of {what}"
    if match := _FORBIDDEN.search(answer):
        return f"the operator may not {match[1]} {what}"
    if _QUOTA in answer:
        return f"a quota does not allow the change of {what}"
    return f"the API server does not allow the change of {what}"


_NAMES: Final = {
    StepName.UNDO: "the undo",
    StepName.PIN_IMAGE: "the image pin",
    StepName.SCALE: "the change of the replicas",
    StepName.RESTART_PODS: "the replacement of the pods",
    StepName.DISABLE_FLAG: "the change of the flag",
    StepName.RESTORE_CONFIGURATION: "the restore of the ConfigMaps",
    StepName.SUSPEND_OWNER: "the suspension of the GitOps owner",
    StepName.STOP_TRAFFIC: "the stop of the traffic",
    StepName.RESTORE_TRAFFIC: "the restoration of the traffic",
}


_TRAFFIC: Final = (StepName.STOP_TRAFFIC, StepName.RESTORE_TRAFFIC)


def refused_step(rollback: Rollback, step: StepName, answer: str) -> str:
    """State that a step was refused, what runs, and how a person gets the service back.

    The command needs only the rights of the person: another request would be refused again.
    """
    spec, namespace = rollback.spec, rollback.metadata.namespace
    name = spec.target_ref.name
    what = f"Deployment {name}"
    if step is StepName.SCALE and spec.autoscaler is not None:
        what = f"HorizontalPodAutoscaler {spec.autoscaler.name}"
    if step in _TRAFFIC and spec.traffic is not None and spec.traffic.service:
        what = f"Service {spec.traffic.service}"
    head = f"{_NAMES.get(step, f'the step {step}')} was refused: {refused_by(answer, what)}"
    runs = f"Revision {spec.from_revision.number} still runs"
    back = ""
    if step is StepName.UNDO and spec.to_revision is not None:
        command = commands.rollout_undo(name, namespace, spec.to_revision.number)
        back = f". Roll back by {command}"
    elif spec.remedy.type is RemedyType.SCALE and spec.remedy.replicas and not spec.autoscaler:
        back = (
            f". Scale by kubectl scale deployment/{name} -n {namespace} "
            f"--replicas={spec.remedy.replicas}"
        )
    if step in (StepName.RESTORE_STRATEGY, StepName.ROLLOUT_COMPLETE, StepName.VERIFY):
        runs = f"the strategy of {what} is unchanged"
    if step is StepName.STOP_TRAFFIC:
        back = "; traffic.namespaces of the operator's chart gives the right"
    if step is StepName.RESTORE_TRAFFIC:
        resume = commands.resume(spec.policy_ref.name, namespace)
        runs, back = "the traffic is still stopped", f". Restore it by {resume}"
    return f"{head}. {runs}{back}. Answer of the API server: {answer}"
