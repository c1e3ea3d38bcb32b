"""Send the probes that the matrix names while a release is watched.

Each until the release has passed it: what fails much later is hardly the release's doing. A probe
that hangs goes on by itself; no look waits for it.
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
class Trier:
    """Sends through the port, and remembers what is under way."""

    probes: Probes
    clock: Callable[[], float]
    sent: dict[tuple[Key, str], _Sent] = field(default_factory=dict)
    """By the policy's key and the probe's name."""
    due: dict[tuple[Key, str], float] = field(default_factory=dict)

    async def look(self, watch: Watch, workload: Workload, policy: RollbackPolicy) -> Watch:
        """Send what is due, and take in what has been answered."""
        wanted = list(_wanted(policy))
        if not wanted:
            return watch
        release = workload.deployment.template.release
        known = {
            one.name: watch.trends.trials.get(one.name)
            or matrix_probes.opened_trial(one.name, policy.status.probes, release)
            for one in wanted
        }
        who = matrix_probes.serving(workload)
        for probe in wanted:
            if who is not None and not known[probe.name].has_passed:
                self._send(policy, probe, watch.digest, who)
        found = {one.name: known[one.name] for one in wanted}
        for name, sent in await self._answered(policy):
            # Who was to answer may be another by now: a new pod, where only old ones were.
            is_sure = sent.digest == watch.digest and sent.who is who
            if is_sure and name in found:
                found[name] = matrix_probes.with_result(
                    found[name], sent.task.result(), sent.who, self.clock()
                )
                self.due[policy.key, name] = self.clock() + _pause(found[name], sent.who)
        return replace(watch, trends=replace(watch.trends, trials=found))

    def forget(self, key: Key) -> None:
        """Give up what is asked for a policy: its release is no longer watched."""
        for one in [one for one in self.sent if one[0] == key]:
            self.sent.pop(one).task.cancel()

    async def close(self) -> None:
        """Stop sending."""
        tasks = [one.task for one in self.sent.values()]
        self.sent.clear()
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _send(self, policy: RollbackPolicy, probe: HttpProbe, digest: str, who: Serving) -> None:
        key = policy.key, probe.name
        now = self.clock()
        if key in self.sent or now < self.due.get(key, now):
            return
        # What is due counts no more, and may be of policies that are gone.
        self.due = {one: due for one, due in self.due.items() if now < due}
        task = asyncio.create_task(self._asked(policy.metadata.namespace, probe))
        self.sent[key] = _Sent(digest, who, task)

    async def _asked(self, namespace: str, probe: HttpProbe) -> Check:
        return probing.functional(probe, await self.probes.send(namespace, probe), 1)

    async def _answered(self, policy: RollbackPolicy) -> list[tuple[str, _Sent]]:
        mine = {name: one for (owner, name), one in self.sent.items() if owner == policy.key}
        if mine:
            await asyncio.wait([one.task for one in mine.values()], timeout=PROBE_WAIT_SECONDS)
        done = [(name, one) for name, one in mine.items() if one.task.done()]
        for name, _ in done:
            del self.sent[policy.key, name]
        return done


def _wanted(policy: RollbackPolicy) -> Iterator[HttpProbe]:
    names = {
        one.name
        for rule in policy.spec.matrix
        for one in rule.when
        if one.signal is SignalName.PROBE
    }
    return (one for one in policy.spec.verification.http if one.name in names)


def _pause(trial: Trial, who: Serving) -> float:
    is_calm = who is Serving.BOTH and not trial.failures
    return SELDOM_SECONDS if is_calm or trial.failures >= LEAST_FAILURES else PROBE_INTERVAL_SECONDS
