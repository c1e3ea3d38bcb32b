"""Counts policies and Rollbacks by how they stand, for whoever scrapes the operator.

Counted at each scrape from what the watches have told: nothing is kept, nothing is missed by a
restart. Only the replica that acts counts, or two would say everything twice. Labels take words of
the API alone, so their number is bounded.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rollback_operator.api.reasons import ConditionType, Reason
from rollback_operator.api.v1alpha1 import RollbackPolicy, StepName
from rollback_operator.model.conditions import find
from rollback_operator.model.context import is_active
from rollback_operator.reconcile.cache import Cache, Unreadable


@dataclass(frozen=True, eq=False)
class Census(Collector):
    """Counts what is in the cache."""

    cache: Cache
    is_leading: Callable[[], bool]

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the metrics without counting: a registry asks before there is a cache to count."""
        yield from self._families(Cache())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count."""
        yield from self._families(self.cache if self.is_leading() else Cache())

    def _families(self, cache: Cache) -> Iterator[GaugeMetricFamily]:
        known = list(cache.policies.values())
        policies = [one for one in known if isinstance(one, RollbackPolicy)]
        unreadable = sum(isinstance(one, Unreadable) for one in known)
        words = Counter(one.status.summary for one in policies if one.status.summary)
        not_ready = Counter(_lacking(policies, ConditionType.READY))
        for counts in (words, not_ready):
            counts.update({Reason.INVALID_SPEC.value: unreadable} if unreadable else {})
        yield _counted("policies", "Policies by their status in a word.", "status", words)
        yield _counted("policies_not_ready", "Policies that cannot work.", "reason", not_ready)
        without = Counter(_lacking(policies, ConditionType.METRICS_AVAILABLE))
        said = "Policies whose watched release has no metrics."
        yield _counted("policies_without_metrics", said, "reason", without)
        untold = Counter(_lacking(policies, ConditionType.NOTIFIED))
        said = "Policies of which a channel takes nothing."
        yield _counted("policies_not_notified", said, "reason", untold)
        active = [one for one in cache.rollbacks.values() if is_active(one)]
        severities = Counter(str(one.status.severity or one.spec.severity) for one in active)
        said = "Rollbacks under way, those that wait for a person among them."
        yield _counted("rollbacks_active", said, "severity", severities)
        asked = sum(one.status.step is StepName.AWAITING_APPROVAL for one in active)
        yield _single("rollbacks_awaiting_approval", "Rollbacks that wait for a person.", asked)
        held = sum(one.status.hold is not None and one.status.hold.is_open for one in policies)
        yield _single("rollouts_held", "Rollouts that the operator holds.", held)


def _lacking(policies: list[RollbackPolicy], kind: ConditionType) -> Iterator[str]:
    """Give the reason of each policy of which a condition is False."""
    for one in policies:
        found = find(one.status.conditions, kind)
        if found is not None and found.status == "False":
            yield found.reason


def _counted(name: str, said: str, label: str, counts: Counter[str]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"rollback_operator_{name}", said, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _single(name: str, said: str, count: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"rollback_operator_{name}", said, value=count)
