"""Which release runs, and the rollouts since the judgement, by template and number. Pure."""

from rollback_operator.api.v1alpha1 import Rollback, RollbackSpec, StepName
from rollback_operator.model.workload import Template, Workload


def is_configuration_only(spec: RollbackSpec) -> bool:
    """Return whether the release and its target have the same template, without annotations."""
    return spec.to_revision is not None and spec.to_revision.bare == spec.from_revision.bare


def runs_judged(spec: RollbackSpec, template: Template) -> bool:
    """Return whether a template is that of the judged release, a restart of it included.

    Where only the configuration differs, each other revision of the template is another release.
    """
    if is_configuration_only(spec):
        return template.digest == spec.from_revision.digest
    return template.bare == spec.from_revision.bare


def runs_target(rollback: Rollback, template: Template) -> bool:
    """Return whether a template is that of the rollback target, a restart of it included.

    Where only the configuration differs, a restart before the undo is not the target: its pods may
    have read the ConfigMaps before they were restored.
    """
    spec, target = rollback.spec, rollback.spec.to_revision
    if target is None or template.digest == spec.from_revision.digest:
        return False
    if is_configuration_only(spec) and not _is_undone(rollback):
        return template.digest == target.digest
    return template.bare == target.bare


def _is_undone(rollback: Rollback) -> bool:
    steps = rollback.status.steps
    return any(step.name is StepName.UNDO and step.finished_time for step in steps)


def was_another_between(rollback: Rollback, begun: int, workload: Workload) -> bool:
    """Return whether another template ran after the judgement and before the act began.

    The controller has not yet numbered the judged template anew, as shortly after a restore.
    """
    judged = rollback.spec.from_revision
    return workload.deployment.template.digest == judged.digest and any(
        judged.number < replica_set.revision <= begun
        and replica_set.template.digest != judged.digest
        for replica_set in workload.replica_sets
    )


def may_have_run(rollback: Rollback, since: int, workload: Workload) -> bool:
    """Return whether the Deployment may have borne the act's template after a revision."""
    target = rollback.spec.to_revision
    if target is None:
        # Any template may have the pinned image: if only one rollout came, and it is the running
        # rollout, there was none in between.
        current = workload.current
        return current is None or current.revision != since + 1
    targets = [
        replica_set
        for replica_set in workload.replica_sets
        if replica_set.template.digest == target.digest
    ]
    return not targets or any(replica_set.revision > since for replica_set in targets)
