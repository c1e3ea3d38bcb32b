"""The release of each revision: its template without annotations, and its configuration.

Pure. A revision keeps the release that was recorded when it began: what it references may change
later. Without a readable configuration a release is the template alone, as it was for an earlier
build of the operator, whose records are valid as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rollback_operator.api.v1alpha1 import (
    Mode,
    Revision,
    RevisionRef,
    Rollback,
    RollbackPolicyStatus,
)
from rollback_operator.model.workload import (
    Deployment,
    Template,
    Workload,
    digest_of,
)
from rollback_operator.remedies.gitops import act_of


@dataclass(frozen=True, slots=True)
class Identity:
    """The release of a template, as recorded."""

    release: str
    configuration: str | None


def is_recorded(status: RollbackPolicyStatus, deployment: Deployment) -> bool:
    """Return whether the running template is on record, so that nothing is to be read."""
    known = status.revision
    return known is not None and known.digest == deployment.template.digest


def recorded(
    workload: Workload, status: RollbackPolicyStatus, rollbacks: Sequence[Rollback] = ()
) -> Workload:
    """Give each revision the release that is on record; a revision without a record has none."""
    return _named(workload, _records(status, rollbacks))


def identified(
    workload: Workload,
    status: RollbackPolicyStatus,
    rollbacks: Sequence[Rollback],
    configuration: str | None,
) -> Workload:
    """Give the running template, which is not on record yet, its release.

    Args:
        workload: the target.
        status: the records of its revisions.
        rollbacks: all of the target.
        configuration: the digest of what the template references now; None: not read.
    """
    records, running = _records(status, rollbacks), workload.deployment.template
    same = [
        records[each.template.digest]
        for each in sorted(workload.replica_sets, key=lambda each: -each.revision)
        if each.template.bare == running.bare and each.template.digest in records
    ]
    if not same:  # its ReplicaSets are deleted: a record of an earlier build still names it
        same = [each for each in records.values() if each == Identity(running.bare, None)][:1]
    restored = _restored_release(running, status, rollbacks)
    release = restored or _release_of(running, same, configuration)
    return _named(workload, {**records, running.digest: Identity(release, configuration)})


def with_deployment(workload: Workload, deployment: Deployment) -> Workload:
    """Replace the Deployment by a newer version, which a write returned; its release stays."""
    known = workload.deployment.template
    if deployment.template.digest == known.digest:
        deployment = replace(deployment, template=known)
    return replace(workload, deployment=deployment)


def _records(status: RollbackPolicyStatus, rollbacks: Sequence[Rollback]) -> dict[str, Identity]:
    """Collect what is on record, by the digest of the template; the newest record counts."""
    refs: list[RevisionRef | Revision] = [*_of_rollbacks(rollbacks), *reversed(status.revisions)]
    refs += [status.revision] if status.revision is not None else []
    return {each.digest: Identity(each.release, each.configuration) for each in refs}


def _of_rollbacks(rollbacks: Sequence[Rollback]) -> Iterator[RevisionRef]:
    """List the revisions of Rollbacks, the newest Rollback last."""
    for rollback in sorted(rollbacks, key=lambda each: each.spec.trigger.decided_time):
        if rollback.spec.to_revision is not None:
            yield rollback.spec.to_revision
        yield rollback.spec.from_revision


def _named(workload: Workload, known: dict[str, Identity]) -> Workload:
    """Give each template its release.

    A revision without a record, from before the policy, is the same release as the next revision of
    the same template: a restart, as far as is known.
    """
    later: dict[str, Identity] = {}
    for each in sorted(workload.replica_sets, key=lambda each: -each.revision):
        bare, digest = each.template.bare, each.template.digest
        if digest in known:
            later[bare] = known[digest]
        elif bare in later:
            known = {**known, digest: Identity(later[bare].release, None)}

    def named(template: Template) -> Template:
        identity, bare = known.get(template.digest), template.bare
        if identity is None:
            return template
        return replace(
            template,
            release=identity.release,
            unannotated=bare if identity.release != bare else "",
            configuration=identity.configuration,
        )

    deployment = workload.deployment
    return replace(
        workload,
        deployment=replace(deployment, template=named(deployment.template)),
        replica_sets=tuple(
            replace(each, template=named(each.template)) for each in workload.replica_sets
        ),
    )


def _release_of(template: Template, same: Sequence[Identity], configuration: str | None) -> str:
    """Return the release of a new template: that of the same template and configuration, if any.

    Without a configuration, of either, the newest revision of the same template is the same
    release, as a restart is.

    Args:
        template: without annotations.
        same: the records of its other revisions, newest first.
        configuration: of the new revision; None: not read.
    """
    newest = same[0] if same else None
    if configuration is None:
        return newest.release if newest is not None else template.bare
    equal = (each.release for each in same if each.configuration == configuration)
    if (release := next(equal, None)) is not None:
        return release
    if newest is not None and newest.configuration is None:
        return newest.release
    return digest_of([template.bare, configuration])


def _restored_release(
    template: Template, status: RollbackPolicyStatus, rollbacks: Sequence[Rollback]
) -> str | None:
    """Return the release that the newest rollback restored, if the template directly follows it.

    A rollback restores what its record names, also where another object of the configuration has
    changed: it is not rolled back itself.
    """
    before = status.revision
    # A rollback whose act has not begun has restored nothing: what follows it is a restart.
    real = [each for each in rollbacks if each.spec.mode is Mode.ENFORCE and act_of(each)]
    newest = max(real, key=lambda each: each.spec.trigger.decided_time, default=None)
    if newest is None or newest.spec.to_revision is None or before is None:
        return None
    source, target = newest.spec.from_revision, newest.spec.to_revision
    is_next = before.release == source.release and template.digest != source.digest
    return target.release if is_next and target.bare == template.bare else None
