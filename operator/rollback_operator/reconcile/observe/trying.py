"""Sends the probes that the matrix names while a release is watched.

Each until the release has passed it: a failure much later is hardly the release's doing. A probe
that hangs goes on in the background; no look waits for it.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from rollback_operator.api.v1alpha1 import RollbackPolicy, SignalName
from rollback_operator.api.verification import HttpProbe
from rollback_operator.evidence.limits import LEAST_FAILURES
from rollback_operator.evidence.trends import Trial
from rollback_operator.evidence.watch import Watch
from rollback_operator.judge import matrix_probes
from rollback_operator.judge.matrix_probes import Serving
from rollback_operator.model.check import Check
from rollback_operator.model.workload import Workload
from rollback_operator.ports.application import Probes
from rollback_operator.rollback import probing

PROBE_WAIT_SECONDS = 0.05
PROBE_INTERVAL_SECONDS = 2.0
SELDOM_SECONDS = 5.0
"""Once it speaks against the release, or waits for the end of a rollout."""


Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Sent:
    digest: str
    who: Serving
    task: "asyncio.Task[Check]"


@dataclass
class ProbeSender:
    """Sends through the port, and remembers which probes are open."""

    probes: Probes
    clock: Callable[[], float]
    sent: dict[tuple[Key, str], _Sent] = field(default_factory=dict)
    """By the policy's key and the probe's name."""
    due: dict[tuple[Key, str], float] = field(default_factory=dict)

    async def send_due(self, watch: Watch, workload: Workload, policy: RollbackPolicy) -> Watch:
        """Send the probes that are due, and take in the answers."""
        wanted = list(_matrix_probes(policy))
        if not wanted:
            return watch
        release = workload.deployment.template.release
        known = {
            probe.name: watch.trends.trials.get(probe.name)
            or matrix_probes.opened_trial(probe.name, policy.status.probes, release)
            for probe in wanted
        }
        who = matrix_probes.serving(workload)
        for probe in wanted:
            if who is not None and not known[probe.name].has_passed:
                self._send(policy, probe, watch.digest, who)
        results = {probe.name: known[probe.name] for probe in wanted}
        for name, sent in await self._finished_probes(policy):
            # Another pod may answer by now: a new pod, where only old pods were.
            is_sure = sent.digest == watch.digest and sent.who is who
            if is_sure and name in results:
                results[name] = matrix_probes.with_result(
                    results[name], sent.task.result(), sent.who, self.clock()
                )
                self.due[policy.key, name] = self.clock() + _probe_interval(results[name], sent.who)
        return replace(watch, trends=replace(watch.trends, trials=results))

    def forget(self, key: Key) -> None:
        """Cancel the probes of a policy whose release is no longer watched."""
        for sent in [sent for sent in self.sent if sent[0] == key]:
            self.sent.pop(sent).task.cancel()

    async def close(self) -> None:
        """Stop sending."""
        tasks = [sent.task for sent in self.sent.values()]
        self.sent.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _send(self, policy: RollbackPolicy, probe: HttpProbe, digest: str, who: Serving) -> None:
        key = policy.key, probe.name
        now = self.clock()
        if key in self.sent or now < self.due.get(key, now):
            return
        # Entries that are due have no effect, and their policies may be gone.
        self.due = {other: due for other, due in self.due.items() if now < due}
        task = asyncio.create_task(self._send_probe(policy.metadata.namespace, probe))
        self.sent[key] = _Sent(digest, who, task)

    async def _send_probe(self, namespace: str, probe: HttpProbe) -> Check:
        return probing.functional(probe, await self.probes.send(namespace, probe), 1)

    async def _finished_probes(self, policy: RollbackPolicy) -> list[tuple[str, _Sent]]:
        mine = {name: sent for (owner, name), sent in self.sent.items() if owner == policy.key}
        if mine:
            await asyncio.wait([sent.task for sent in mine.values()], timeout=PROBE_WAIT_SECONDS)
        done = [(name, sent) for name, sent in mine.items() if sent.task.done()]
        for name, _ in done:
            del self.sent[policy.key, name]
        return done


def _matrix_probes(policy: RollbackPolicy) -> Iterator[HttpProbe]:
    names = {
        condition.name
        for rule in policy.spec.matrix
        for condition in rule.when
        if condition.signal is SignalName.PROBE
    }
    return (probe for probe in policy.spec.verification.http if probe.name in names)


def _probe_interval(trial: Trial, who: Serving) -> float:
    is_calm = who is Serving.BOTH and not trial.failures
    return SELDOM_SECONDS if is_calm or trial.failures >= LEAST_FAILURES else PROBE_INTERVAL_SECONDS
