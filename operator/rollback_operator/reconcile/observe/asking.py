"""Asks a policy's integrity checks while a release is watched.

The first question is asked at once, while only old pods serve: a check that fails then is no fault
of the release. A database that hangs is asked in the background; no look waits for it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rollback_operator.api.checklist import DatabaseSpec
from rollback_operator.api.v1alpha1 import RollbackPolicy, SignalName
from rollback_operator.evidence.watch import Watch
from rollback_operator.judge import integrity_trials, matrix_probes
from rollback_operator.judge.matrix_probes import Serving, serving
from rollback_operator.model.samples import Missing
from rollback_operator.model.workload import Workload
from rollback_operator.ports.application import Schemas
from rollback_operator.rollback import integrity
from rollback_operator.rollback.integrity import Answers

ASK_WAIT_SECONDS = 0.05
ASK_INTERVAL_SECONDS = 15.0
ASK_AGAIN_SECONDS = 5.0
"""Once a check has failed, or the database has not answered."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _OpenQuestion:
    digest: str
    who: Serving | None
    task: "asyncio.Task[Answers | Missing]"


@dataclass
class IntegrityReader:
    """Asks through the port, and remembers which policies wait for an answer."""

    schemas: Schemas
    clock: Callable[[], float]
    asked: dict[Key, _OpenQuestion] = field(default_factory=dict)
    due: dict[Key, tuple[str, float]] = field(default_factory=dict)
    """The release that was asked about, and when its next question is due."""

    async def ask_due(self, watch: Watch, workload: Workload, policy: RollbackPolicy) -> Watch:
        """Ask the checks if they are due, and take in the answers."""
        database = policy.spec.database
        if database is None or not _is_wanted(policy):
            return watch
        key, who = policy.key, serving(workload)
        if self._is_of_another_release(key, watch.digest):
            # Its own first question does not wait: damage would seem to have been there before.
            self.forget(key)
        if key not in self.asked and self.clock() >= self.due.get(key, ("", 0.0))[1]:
            self._ask(policy, database, watch.digest, who)
        known = self.asked.get(key)
        if known is None:
            return watch
        await asyncio.wait([known.task], timeout=ASK_WAIT_SECONDS)
        if not known.task.done():
            return watch
        del self.asked[key]
        answers = known.task.result()
        watch = _with_baseline(watch, policy, database, workload.deployment.template.release)
        # Which revision a failure belongs to is known only if the same pods serve still.
        watch = self._taken_in(watch, database, answers, who if known.who is who else None)
        is_calm = isinstance(answers, Missing) or not _is_failing(watch)
        seconds = ASK_INTERVAL_SECONDS if is_calm else ASK_AGAIN_SECONDS
        self.due[key] = watch.digest, self.clock() + seconds
        return watch

    def _is_of_another_release(self, key: Key, digest: str) -> bool:
        known = self.asked.get(key)
        asked = known.digest if known is not None else self.due.get(key, (digest, 0.0))[0]
        return asked != digest

    def forget(self, key: Key) -> None:
        """Cancel the question of a policy whose release is no longer watched."""
        self.due.pop(key, None)
        known = self.asked.pop(key, None)
        if known is not None:
            known.task.cancel()

    async def close(self) -> None:
        """Stop asking."""
        tasks = [known.task for known in self.asked.values()]
        self.asked.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(
        self, policy: RollbackPolicy, database: DatabaseSpec, digest: str, who: Serving | None
    ) -> None:
        now = self.clock()
        # Entries that are due have no effect, and their policies may be gone.
        self.due = {other: due for other, due in self.due.items() if now < due[1]}
        questions = {check.name: check.query for check in database.integrity_checks}
        asking = self.schemas.ask(policy.metadata.namespace, database, questions)
        self.asked[policy.key] = _OpenQuestion(digest, who, asyncio.create_task(asking))

    def _taken_in(
        self, watch: Watch, database: DatabaseSpec, answers: Answers | Missing, who: Serving | None
    ) -> Watch:
        trends, now = watch.trends, self.clock()
        trials = {
            check.name: integrity_trials.with_answer(
                trends.integrity[check.name],
                integrity.checked(check, answers),
                who,
                now,
            )
            for check in database.integrity_checks
        }
        missing = answers if isinstance(answers, Missing) else None
        return replace(watch, trends=replace(trends, integrity=trials, unread_integrity=missing))


def _with_baseline(
    watch: Watch, policy: RollbackPolicy, database: DatabaseSpec, release: str
) -> Watch:
    """Begin with what an earlier leader has put on record of this release."""
    known = {
        check.name: watch.trends.integrity.get(check.name)
        or matrix_probes.opened_trial(check.title, policy.status.probes, release)
        for check in database.integrity_checks
    }
    return replace(watch, trends=replace(watch.trends, integrity=known))


def _is_wanted(policy: RollbackPolicy) -> bool:
    database = policy.spec.database
    conditions = (condition for rule in policy.spec.matrix for condition in rule.when)
    is_evaluated = any(condition.signal is SignalName.INTEGRITY for condition in conditions)
    return is_evaluated and database is not None and bool(database.integrity_checks)


def _is_failing(watch: Watch) -> bool:
    return any(trial.failures for trial in watch.trends.integrity.values())
