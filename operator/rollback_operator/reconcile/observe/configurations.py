"""Reads the ConfigMaps and Secrets of a release: when it begins, when it is Good, for a restore.

At rest nothing is read: the release of a revision is on record.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.remedy import MOST_RESTORED, StoredConfigMap
from rollback_operator.api.shape import clipped
from rollback_operator.api.v1alpha1 import (
    Condition,
    Health,
    LedgerEntry,
    Mode,
    Rollback,
    RollbackPolicy,
)
from rollback_operator.decide.restoring import is_as_begun, without_text
from rollback_operator.model import conditions
from rollback_operator.model.context import Case, RestoreFacts, is_active
from rollback_operator.model.samples import Missing
from rollback_operator.model.surroundings import Reference
from rollback_operator.model.workload import ConfigState, Configuration, Workload
from rollback_operator.ports.cluster import Configurations
from rollback_operator.ports.failure import Failure, FailureKind
from rollback_operator.reconcile.cache import Key
from rollback_operator.releases import identity
from rollback_operator.releases.ledger import entry_of
from rollback_operator.remedies.restoring import CONTENT_BYTES

MOST_READ = 32
"""Objects of a configuration that are read; a template with more is read in part."""
CONFIGURATION_SECONDS = 2.0
AWAITED_SECONDS = 30.0
"""How long a new template waits for its configuration: without it, a change of a ConfigMap would
look like a restart, for good."""
STORE_RETRY_SECONDS = 30.0
FACTS_KNOWN_SECONDS = 10.0
MOST_STORED = 8
"""Contents that are stored of a ConfigMap."""


@dataclass
class ConfigurationReader:
    """Reads configurations, and stores the contents that a remedy may restore."""

    configurations: Configurations
    clock: Callable[[], datetime]
    known: dict[Key, tuple[str, Configuration]] = field(default_factory=dict)
    """By policy: the digest of the running template, and its configuration when it began."""
    awaited: dict[Key, tuple[str, datetime]] = field(default_factory=dict)
    """By policy: a template whose configuration did not answer, and until when it is awaited."""
    rests: dict[Key, datetime] = field(default_factory=dict)
    """Until when contents that could not be stored are not tried again."""
    facts: dict[Key, tuple[datetime, str, RestoreFacts]] = field(default_factory=dict)
    """Until when the facts of a restore are known, for which template, and what they are."""

    async def identify(
        self, policy: RollbackPolicy, workload: Workload, rollbacks: Sequence[Rollback]
    ) -> Workload | Failure:
        """Give each revision its release; a new template's configuration is read for that."""
        status, current = policy.status, workload.current
        if current is None or identity.is_recorded(status, workload.deployment):
            return identity.recorded(workload, status, rollbacks)
        began = self._began(policy, workload)
        if began is None:
            whole = await self._read(policy.metadata.namespace, current.references)
            if whole.is_late and self._is_awaited(policy, workload, rollbacks):
                return Failure(FailureKind.UNAVAILABLE, "; ".join(whole.unread))
            began = whole
            self.known[policy.key] = current.template.digest, began
        return identity.identified(workload, status, rollbacks, began.digest)

    def _is_awaited(
        self, policy: RollbackPolicy, workload: Workload, rollbacks: Sequence[Rollback]
    ) -> bool:
        """Return whether a configuration is to be read again; an open Rollback does not wait."""
        now, digest = self.clock(), workload.deployment.template.digest
        of, until = self.awaited.get(policy.key, ("", now))
        if of != digest:
            until = now + timedelta(seconds=AWAITED_SECONDS)
            self.awaited[policy.key] = digest, until
        return now < until and not any(map(is_active, rollbacks))

    def forget(self, key: Key) -> None:
        """Drop the configuration of a release that is no longer judged."""
        for kept in (self.known, self.awaited, self.facts):
            kept.pop(key, None)

    def condition(self, policy: RollbackPolicy, workload: Workload) -> Condition | None:
        """Report of what a release consists; None: as it was reported before."""
        began, kind = self._began(policy, workload), ConditionType.CONFIGURATION_READ
        if began is None:
            return None
        if began.unread:
            message = f"a release is the pod template without: {'; '.join(began.unread)}"
            reason = Reason.CONFIGURATION_UNREADABLE
            return conditions.condition(kind, False, reason, clipped(message, 1024))
        names = ", ".join(map(str, sorted(began.states)))
        if not names and conditions.find(policy.status.conditions, kind) is None:
            return None
        message = f"a release is the pod template and {names or 'no ConfigMap or Secret'}"
        reason = Reason.CONFIGURATION_COMPARED
        return conditions.condition(kind, True, reason, clipped(message, 1024))

    def _began(self, policy: RollbackPolicy, workload: Workload) -> Configuration | None:
        digest, began = self.known.get(policy.key, ("", None))
        return began if digest == workload.deployment.template.digest else None

    async def _read(
        self, namespace: str, references: Sequence[Reference], texts: Collection[str] = ()
    ) -> Configuration:
        """Read what a template references; the contents of the named ConfigMaps only are kept.

        A template may name 32 objects of 1 MiB each.
        """
        wanted = [each for each in references if each.is_configuration]

        async def read(each: Reference) -> ConfigState | Failure:
            state = await self.configurations.read(namespace, each)
            is_kept = each.kind == "ConfigMap" and each.name in texts
            return state if isinstance(state, Failure) or is_kept else without_text(state)

        tasks = [asyncio.ensure_future(read(each)) for each in wanted[:MOST_READ]]
        states: dict[Reference, ConfigState | Missing] = {}
        if tasks:
            await asyncio.wait(tasks, timeout=CONFIGURATION_SECONDS)
        for reference, task in zip(wanted, tasks, strict=False):
            states[reference] = _state_or_missing(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        more = Missing(
            Reason.CONFIGURATION_UNREADABLE, f"a template names more than {MOST_READ} objects"
        )
        return Configuration({**states, **dict.fromkeys(wanted[MOST_READ:], more)})

    # -- a restore ---------------------------------------------------------------------------------

    async def for_restore(self, case: Case) -> Case:
        """Read what a decision to restore ConfigMaps takes, at most every ten seconds."""
        time, key, digest = self.clock(), case.policy.key, case.workload.deployment.template.digest
        until, of, known = self.facts.get(key, (time, "", None))
        if known is not None and of == digest and time < until:
            return replace(case, restorable=known)
        facts = await self._restore_facts(case)
        self.facts = {each: kept for each, kept in self.facts.items() if time < kept[0]}
        self.facts[key] = time + timedelta(seconds=FACTS_KNOWN_SECONDS), digest, facts
        return replace(case, restorable=facts)

    async def _restore_facts(self, case: Case) -> RestoreFacts:
        namespace, names = case.policy.metadata.namespace, wanted_names(case.policy)
        current = case.workload.current
        now, stored, users = await asyncio.gather(
            self._read(namespace, current.references if current is not None else (), names),
            asyncio.gather(*(self.configurations.read_stored(namespace, each) for each in names)),
            asyncio.gather(*(self._users(case, each) for each in names)),
        )
        contents: dict[str, str] = {}
        for answer in stored:
            contents |= {} if isinstance(answer, Failure) else answer
        began = self._began(case.policy, case.workload)
        return RestoreFacts(now, began, contents, dict(zip(names, users, strict=True)))

    async def _users(self, case: Case, name: str) -> tuple[str, ...] | Missing:
        deployment = case.workload.deployment
        answer = await self.configurations.users(deployment.namespace, name, deployment.name)
        return (
            Missing(Reason.READ_FAILED, answer.message) if isinstance(answer, Failure) else answer
        )

    # -- what is stored ----------------------------------------------------------------------------

    async def remember(
        self, policy: RollbackPolicy, ledger: Sequence[LedgerEntry], workload: Workload
    ) -> list[LedgerEntry]:
        """Store the ConfigMaps of a release that has become Good; gives the ledger with the result.

        A content that could not be stored for a passing reason is stored by a later pass.
        """
        now, release = self.clock(), workload.deployment.template.release
        entry, current = entry_of(ledger, release), workload.current
        if entry is None or current is None or not _unstored(policy, entry):
            return list(ledger)
        if now < self.rests.get(policy.key, now):
            return list(ledger)
        self.rests = {key: until for key, until in self.rests.items() if now < until}
        names = wanted_names(policy)
        read = await self._read(policy.metadata.namespace, current.references, names)
        began = self._began(policy, workload)
        results = list[StoredConfigMap]()
        for name in names:
            reference = Reference("ConfigMap", name)
            is_same = is_as_begun(reference, read, began, entry.configuration)
            state = read.states.get(reference)
            result = _not_stored(name, state, is_same) or await self._store(
                policy, name, (state, ledger)
            )
            if isinstance(result, Failure):
                self.rests[policy.key] = now + timedelta(seconds=STORE_RETRY_SECONDS)
                return list(ledger)
            results.append(result)
        return [
            each.model_copy(update={"config_maps": results}) if each.release == release else each
            for each in ledger
        ]

    async def _store(
        self,
        policy: RollbackPolicy,
        name: str,
        what: tuple[ConfigState | Missing | None, Sequence[LedgerEntry]],
    ) -> StoredConfigMap | Failure:
        """Add a content to the stored contents of the revisions on record."""
        state, ledger = what
        assert isinstance(state, ConfigState)
        namespace = policy.metadata.namespace
        known = await self.configurations.read_stored(namespace, name)
        if isinstance(known, Failure):
            failure: Failure | None = known
        else:
            kept = dict(_recorded(name, known, ledger)[: MOST_STORED - 1])
            contents = {**kept, state.digest: state.text}
            failure = await self.configurations.store(policy.metadata, name, contents)
        if failure is None:
            return StoredConfigMap(name=name, digest=state.digest)
        if failure.kind is not FailureKind.REJECTED:
            return failure
        return StoredConfigMap(name=name, message=clipped(failure.message, 512))

    def is_due(self, policy: RollbackPolicy) -> bool:
        """Report whether the running release is Good and its ConfigMaps are not stored yet."""
        status = policy.status
        running = status.revision
        entry = entry_of(status.revisions, running.release) if running is not None else None
        return entry is not None and _unstored(policy, entry)


def wanted_names(policy: RollbackPolicy) -> tuple[str, ...]:
    """List the ConfigMaps that the remedies of a policy may restore."""
    names = (name for remedy in policy.spec.remedies for name in remedy.restore or ())
    return tuple(dict.fromkeys(names))[:MOST_RESTORED]


def _unstored(policy: RollbackPolicy, entry: LedgerEntry) -> bool:
    stored = {each.name for each in entry.config_maps}
    is_wanted = policy.spec.mode is Mode.ENFORCE and entry.health is Health.GOOD
    return is_wanted and not stored >= set(wanted_names(policy))


def _not_stored(
    name: str, state: ConfigState | Missing | None, is_as_it_began: bool
) -> StoredConfigMap | Failure | None:
    """Explain why a content is not stored; None: it is to be stored."""
    if isinstance(state, Missing) and state.reason is Reason.READ_FAILED:
        return Failure(FailureKind.UNAVAILABLE, state.message)
    if state is None:
        why = "the pod template does not reference it: remove it from spec.remedies[].restore"
    elif isinstance(state, Missing):
        why = state.message
    elif not state.digest:
        why = "it does not exist"
    elif not is_as_it_began:
        why = "it is not known to be as it was when the release began"
    elif len(state.text) > CONTENT_BYTES:
        why = f"its content is larger than {CONTENT_BYTES // 1024} KiB"
    else:
        return None
    return StoredConfigMap(name=name, message=clipped(why, 512))


def _recorded(
    name: str, known: Mapping[str, str], ledger: Sequence[LedgerEntry]
) -> list[tuple[str, str]]:
    """Select the stored contents of revisions on record, newest first."""
    digests = [
        stored.digest for entry in ledger for stored in entry.config_maps if stored.name == name
    ]
    return [
        (digest, known[digest]) for digest in dict.fromkeys(digests) if digest and digest in known
    ]


def _state_or_missing(task: "asyncio.Future[ConfigState | Failure]") -> ConfigState | Missing:
    if not task.done():
        task.cancel()
        return Missing(Reason.READ_FAILED, f"no answer in {CONFIGURATION_SECONDS:g} s")
    answer = task.result()
    if not isinstance(answer, Failure):
        return answer
    is_final = answer.kind is FailureKind.REJECTED
    reason = Reason.CONFIGURATION_UNREADABLE if is_final else Reason.READ_FAILED
    return Missing(reason, answer.message)
