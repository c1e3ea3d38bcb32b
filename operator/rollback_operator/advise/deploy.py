"""Findings before a deploy: whether its release could be recognized as bad and taken back.

Pure. The rules are those by which the operator acts, applied to the target as it would be after the
deploy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rollback_operator.advise.deploy_facts import DeployCheck, DeployFacts, DeployFinding
from rollback_operator.advise.policy import (
    FindingLevel,
    PolicyFinding,
    note,
    passed,
    problem,
    warning,
)
from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import (
    Health,
    Mode,
    RemedyType,
    Revision,
)
from rollback_operator.decide import freeze, guards
from rollback_operator.decide.target import resolve_target
from rollback_operator.model import commands
from rollback_operator.model.conditions import find
from rollback_operator.model.context import Case, Refusal
from rollback_operator.model.samples import Missing
from rollback_operator.model.surroundings import Mention
from rollback_operator.model.workload import ReplicaSet
from rollback_operator.releases import quarantine
from rollback_operator.releases.ledger import entry_of

_LIMIT = "spec.revisionHistoryLimit"
_OWNED = (Reason.GITOPS_OWNER, Reason.ROLLOUT_OWNER)
"""The readiness of the policy reports these."""
_AWAY = (RemedyType.UNDO, RemedyType.PIN_IMAGE)
"""Remedies that replace the release."""


def of_deploy(facts: DeployFacts) -> tuple[DeployFinding, ...]:
    """List what was checked, passed or not, in order."""
    # An undo of the new release: its target is sought among all others.
    case = replace(facts.case, workload=facts.after)
    targets = [] if facts.is_first else list(_targets(facts, case))
    checks: dict[DeployCheck, Iterator[PolicyFinding]] = {
        DeployCheck.POLICY: _policy(facts),
        DeployCheck.TARGET: _target(facts, targets),
        DeployCheck.HISTORY: _history(facts, targets),
        DeployCheck.RELEASE: _release(facts),
        DeployCheck.REFERENCES: _references(facts),
        DeployCheck.RESPONSE: _response(facts, case),
        DeployCheck.MIGRATIONS: _migrations(facts, targets),
    }
    return tuple(DeployFinding(name, each) for name, made in checks.items() for each in made)


def ordered(findings: Sequence[DeployFinding]) -> list[DeployFinding]:
    """Sort by check, the worst first, without findings that repeat an earlier finding."""
    checks, levels = list(DeployCheck), list(FindingLevel)
    kept = [
        each
        for number, each in enumerate(findings)
        if not any(_repeats(each, earlier) for earlier in findings[:number])
    ]
    kept.sort(key=lambda each: (checks.index(each.check), levels.index(each.finding.level)))
    return kept


def _repeats(each: DeployFinding, earlier: DeployFinding) -> bool:
    is_like = (each.check, each.finding.level) == (earlier.check, earlier.finding.level)
    return is_like and each.finding.message in earlier.finding.message


def _policy(facts: DeployFacts) -> Iterator[PolicyFinding]:
    policy = facts.case.policy
    spec, meta, status = policy.spec, policy.metadata, policy.status
    ready = find(status.conditions, ConditionType.READY)
    if spec.suspend:
        yield problem(
            "spec.suspend",
            "the policy is suspended: the release is neither judged nor rolled back",
            f"resume it: {commands.resume(meta.name, meta.namespace)}",
        )
    elif not facts.is_stored:
        yield warning(
            "",
            "the policy is not in the cluster yet: the running revision is on record only once the "
            "operator has seen it",
            "apply the policy before the release",
        )
    elif facts.is_changed:
        yield note("", "the deploy changes the policy: its condition Ready is that of the old spec")
    elif ready is None or not status.observed_generation:
        yield problem(
            "",
            "no operator has seen the policy: the release would not be judged",
            "check that the operator runs and that its watchNamespaces include this namespace",
        )
    elif ready.status != "True":
        yield problem("", f"Ready is {ready.status} ({ready.reason}): {ready.message}")
    if spec.mode is Mode.OBSERVE:
        yield warning(
            "spec.mode", "mode Observe: a bad release is reported and not rolled back", "Enforce"
        )
    elif facts.is_stored and not facts.is_changed and ready is not None and ready.status == "True":
        limit = f" ({ready.reason}: {ready.message})" if ready.message else ""
        yield passed("", f"{meta.name} is ready, mode {spec.mode}{limit}")


_Target = tuple[int, ReplicaSet | Refusal | None]
"""A remedy's number in the policy, and its target."""


def _targets(facts: DeployFacts, case: Case) -> Iterator[_Target]:
    for number, remedy in enumerate(case.policy.spec.remedies):
        is_used = any(remedy.applies_to(severity) for severity in facts.severities)
        if remedy.type in _AWAY and is_used:
            yield number, resolve_target(case, remedy)


def _target(facts: DeployFacts, targets: Sequence[_Target]) -> Iterator[PolicyFinding]:
    if facts.is_first:
        name = facts.after.deployment.name
        yield warning(
            "", f"Deployment {name} does not exist yet: its first release has nothing to go back to"
        )
        return
    for number, target in targets:
        path = f"spec.remedies[{number}]"
        if (running := _running_only(facts, target)) is not None:
            yield _health(facts, running, path)
        elif isinstance(target, Refusal):
            yield problem(path, f"{target.reason}: {target.message}")
        elif target is None:
            image = facts.case.policy.spec.remedies[number].image
            yield passed(path, f"the image {image} would be pinned")
        else:
            yield _health(facts, target, path)


def _running_only(facts: DeployFacts, target: ReplicaSet | Refusal | None) -> ReplicaSet | None:
    """Give the running revision if the deploy brings no release and there is no earlier revision.

    Nothing is to be taken back then: it is the running revision that the next release goes back to.
    """
    before, new = facts.case.workload, facts.after.deployment.template
    if not isinstance(target, Refusal) or target.reason is not Reason.NO_TARGET_REVISION:
        return None
    return before.current if new.release == before.deployment.template.release else None


def _health(facts: DeployFacts, target: ReplicaSet, path: str) -> PolicyFinding:
    entry = entry_of(facts.case.ledger, target.template.release)
    health = entry.health if entry is not None else Health.UNKNOWN
    images = ", ".join(target.template.images)
    message = f"revision {target.revision} ({images}) is recorded as {health}"
    if health is Health.GOOD:
        return passed(path, message)
    meta, asks = facts.case.policy.metadata, facts.case.policy.spec.safety.require_verified
    then = ", and a rollback to it waits for an approval (spec.safety.requireVerified)"
    return warning(
        path,
        f"{message}: it was not observed to be Good under this policy{then if asks else ''}",
        "deploy once it is Good (spec.safety.goodAfterSeconds), or say that it is: "
        f"{commands.trust(meta.name, meta.namespace, target.revision)}",
    )


def _history(facts: DeployFacts, targets: Sequence[_Target]) -> Iterator[PolicyFinding]:
    """Check that Kubernetes keeps the targets: it deletes the oldest beyond the limit."""
    new = facts.after.deployment.template.digest
    older = [each for each in facts.after.replica_sets if each.template.digest != new]
    newest_first = sorted((each.revision for each in older), reverse=True)
    limit = facts.after.deployment.history_limit
    for _, target in targets:
        if not isinstance(target, ReplicaSet):
            continue
        left = limit - newest_first.index(target.revision)
        if left <= 0:
            yield problem(
                _LIMIT,
                f"{limit}: Kubernetes deletes the target, revision {target.revision}, once the "
                "rollout is complete",
                f"set it to at least {limit - left + 2} (default: 10)",
            )
        elif left == 1:
            yield warning(
                _LIMIT,
                f"{limit}: the release after this release deletes the target, revision "
                f"{target.revision}, if this release is not Good by then",
                f"set it to at least {limit + 1} (default: 10)",
            )
        else:
            yield passed(_LIMIT, f"{limit}: revision {target.revision} is kept")


def _release(facts: DeployFacts) -> Iterator[PolicyFinding]:
    before, new = facts.case.workload.deployment.template, facts.after.deployment.template
    if facts.refused:
        yield problem("spec", f"the API server refuses the Deployment: {facts.refused}")
    elif not facts.is_compared:
        yield note(
            "spec.template",
            "only its images were compared with earlier releases, because the user of this command "
            "may not change the Deployment, and so not ask the API server for its defaults",
            "grant patch on deployments (create, for a new Deployment): nothing is written",
        )
    elif not facts.is_rollout:
        yield note("spec.template", "it is the running template: nothing is rolled out")
        return
    elif not facts.is_first and new.release == before.release:
        yield note(
            "spec.template",
            "it differs from the running template in annotations only: a restart, and no release"
            + _unless_configured(facts),
        )
        return
    yield from _known_bad(facts)


def _unless_configured(facts: DeployFacts) -> str:
    """Name what would make a restart a release; empty: nothing."""
    used = {f"{each.kind} {each.name}" for each in facts.mentions if each.is_configuration}
    named = ", ".join(sorted(used)[:5])
    return f", unless the content of {named} has changed" if used else ""


def _known_bad(facts: DeployFacts) -> Iterator[PolicyFinding]:
    case, new = facts.case, facts.after.deployment.template
    entry = entry_of(case.ledger, new.release)
    kept = quarantine.entries(
        case.rollbacks,
        case.ledger,
        case.policy.status.quarantine,
        case.policy.spec.safety.quarantine_seconds,
        facts.now,
    )
    revision = Revision(number=0, template_hash="", digest=new.digest, release=new.release)
    barring = quarantine.match(kept, revision, new.all_images, facts.now)
    if barring is not None:
        images = ", ".join(barring.images) or "this release"
        yield problem(
            "spec.template",
            f"{barring.rollback} rolled {images} back: in quarantine until "
            f"{barring.until_time:%Y-%m-%d %H:%M} UTC",
            "deploy a corrected image under another tag",
        )
    elif entry is not None and entry.health is Health.BAD:
        meta = case.policy.metadata
        yield problem(
            "spec.template",
            f"it is the release of revision {entry.number}, recorded as Bad ({entry.reason})",
            "deploy a corrected release, or say that it is good: "
            f"{commands.trust(meta.name, meta.namespace, entry.number)}",
        )
    else:
        yield passed("spec.template", f"{', '.join(new.images)}: neither known bad nor quarantined")


def _references(facts: DeployFacts) -> Iterator[PolicyFinding]:
    present = 0
    for mention, state in sorted(facts.mentions.items(), key=lambda pair: pair[0].path):
        what = f"{mention.kind} {mention.name}"
        if isinstance(state, Missing):
            yield warning(mention.path, f"{what} was not checked: {state.message}")
        elif state:
            present += 1
        else:
            yield _absent(mention)
    if present:
        yield passed("spec.template", f"{present} references to objects and keys: all exist")


def _absent(mention: Mention) -> PolicyFinding:
    what = f"{mention.kind} {mention.name}"
    if mention.key:
        what = f"{what}, or its key {mention.key},"
    if not mention.is_optional:
        remedy = "create it before the Deployment, or in the same manifest"
        return problem(mention.path, f"{what} does not exist: no new pod would start", remedy)
    if ".imagePullSecrets[" in mention.path:
        return warning(mention.path, f"{what} does not exist: images are pulled without it")
    return note(mention.path, f"{what} does not exist, but is optional")


def _response(facts: DeployFacts, case: Case) -> Iterator[PolicyFinding]:
    """Apply the guards of the operator to the new release, as if it were bad now."""
    for name in facts.requests:
        yield problem("", f"Rollback {name} was requested and is not planned yet: wait for its end")
    if case.policy.spec.suspend:
        return  # the check of the policy reports it
    refused: dict[str, list[str]] = {}
    for severity in facts.severities:
        refusal = guards.refusal(case, severity, facts.now)
        if refusal is not None and refusal.reason not in _OWNED:
            refused.setdefault(f"{refusal.reason}: {refusal.message}", []).append(severity)
    able = [
        each for each in facts.severities if not any(each in names for names in refused.values())
    ]
    make = warning if able else problem
    for message, names in refused.items():
        at = " and ".join(names)
        yield make("", f"a bad release would not be rolled back at {at}: {message}", _WAIT)
    only = " on record" if case.policy.spec.mode is Mode.OBSERVE else ""
    if not facts.severities:
        yield warning("spec.matrix", "no rule acts: a bad release is only reported")
    elif able:
        yield passed(
            "spec.matrix", f"a release that is bad at {' or '.join(able)} leads to a remedy{only}"
        )
    yield from _freeze_ahead(facts)


_WAIT = "deploy after that"


def _freeze_ahead(facts: DeployFacts) -> Iterator[PolicyFinding]:
    safety = facts.case.policy.spec.safety
    seconds = freeze.next_change(safety.freeze, facts.now)
    is_frozen = freeze.frozen(safety.freeze, facts.now) is not None
    if is_frozen or seconds is None or seconds >= safety.watch_seconds:
        return
    yield warning(
        "spec.safety.freeze",
        f"a freeze begins in {seconds / 60:.0f} minutes, before the release has been watched for "
        f"watchSeconds ({safety.watch_seconds}): from then on a fault is only reported",
        "deploy after the freeze",
    )


def _migrations(facts: DeployFacts, targets: Sequence[_Target]) -> Iterator[PolicyFinding]:
    """Check that migrations which the target does not know can be reverted."""
    if facts.migrations is None:
        return
    known: frozenset[str] = frozenset()
    target = next((each for _, each in targets if isinstance(each, ReplicaSet)), None)
    entry = entry_of(facts.case.ledger, target.template.release) if target is not None else None
    if entry is not None and entry.migrations is not None:
        known = frozenset(entry.migrations.names)
    new = facts.migrations.newer_than(known)
    lacking = [file for file, has_down in new.items() if not has_down]
    for file in lacking:
        yield problem(
            f"{facts.migrations.folder}/{file}",
            "it has no down migration: once it is applied, no rollback can revert it",
            "write the down migration, or make the change in steps that the old release bears",
        )
    if not lacking:
        unread = len(facts.migrations.unread)
        beside = f"; {unread} files of other forms were not read" if unread else ""
        yield passed(
            facts.migrations.folder,
            f"each of {len(new)} migrations has a down migration (its content is not judged)"
            f"{beside}",
        )
