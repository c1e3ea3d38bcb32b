"""The watched pods' own metrics pages: which are read, and what of the answers is of use."""

from collections.abc import Sequence
from dataclasses import replace

from rollback_operator.api.reasons import Reason
from rollback_operator.api.v1alpha1 import PodMetricsSpec, RollbackPolicy, RollbackPolicySpec
from rollback_operator.evidence.scrape_state import Direct, chosen, off
from rollback_operator.evidence.watch import Watch
from rollback_operator.model.pod import Pod
from rollback_operator.model.samples import Counters, Missing, Reading
from rollback_operator.model.workload import Workload
from rollback_operator.ports.metrics import PageQuery, PodPage


def with_use(watch: Watch, policy: RollbackPolicy) -> Watch:
    """See that pods are read only where the policy wants it and their series name them."""
    missing = watch.direct.missing
    is_disabled = missing is not None and missing.reason is Reason.POD_METRICS_DISABLED
    if not policy.spec.pod_metrics.every_milliseconds:
        message = "spec.podMetrics.everyMilliseconds is 0"
    elif not policy.spec.signals.labels.pod:
        message = "spec.signals.labels.pod is empty: the counters are not the pods' own"
    elif watch.direct.is_off and is_disabled:
        return replace(watch, direct=Direct(), read_due=0.0)
    else:
        return watch
    return replace(watch, direct=off(Reason.POD_METRICS_DISABLED, message))


def page_query(
    watch: Watch, workload: Workload, spec: RollbackPolicySpec
) -> PageQuery | Missing | None:
    """Ask for the pages of the pods that serve or have served; None: there is none to ask yet."""
    served = [pod for pod in workload.pods if pod.ready or pod.name in watch.evidence.seen]
    # Not before it is known by which clock scrapes are timed.
    if not served or watch.skew_read is None:
        return None
    old = [pod for pod in served if pod.pod_hash in watch.control_hashes]
    pages = _pages(workload.current_of(served), old, spec.pod_metrics)
    if not pages:
        message = "no pod has an address of its own and says its port: set spec.podMetrics.port"
        return Missing(Reason.PODS_UNREACHABLE, message)
    signals = spec.signals
    return PageQuery(
        pages, signals.requests, signals.errors, signals.labels, workload.deployment.namespace
    )


def usable_pages(query: PageQuery, reading: Reading) -> Reading:
    """Leave out counters in which the reads themselves would be counted."""
    is_shared = any(pod.page.port == pod.page.serving_port for pod in query.pages)
    if isinstance(reading, Counters) and is_shared and not any(x.route for x in reading.requests):
        message = (
            "the requests have no route and arrive at the port of the metrics page, so that its "
            "reads would count as requests: set spec.podMetrics.port or spec.signals.labels.route"
        )
        return Missing(Reason.POD_METRICS_DISABLED, message)
    return reading


def _pages(new: Sequence[Pod], old: Sequence[Pod], spec: PodMetricsSpec) -> tuple[PodPage, ...]:
    readable = ([pod for pod in pods if pod.address] for pods in (new, old))
    judged = {pod.name for pod in new}
    pages = []
    for pod in chosen(*readable):
        page = replace(pod.page, port=spec.port or pod.page.port, path=spec.path or pod.page.path)
        if page.port:
            is_judged, is_leaving = pod.name in judged, pod.terminating
            pages.append(PodPage(pod.name, pod.address, page, is_judged, is_leaving))
    return tuple(pages)
