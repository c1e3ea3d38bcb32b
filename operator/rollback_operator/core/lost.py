"""A signal has no series: where they are instead, and what to write into the policy."""

from rollback_operator.api.reasons import Reason
from rollback_operator.core.survey import SignalFacts, Survey, Trace

SHOWN = 8


def where_instead(survey: Survey, facts: SignalFacts) -> str:
    """Say where the series are instead."""
    trace = facts.trace or Trace()
    if facts.missing is not None and facts.missing.reason is not Reason.PROVIDER_UNREACHABLE:
        return _nearest(survey, facts, trace) if facts.trace else ""
    return (
        f"{survey.url} must be reachable from here: give --prometheus, from outside a cluster "
        "through a port that is forwarded to it (rollback-operator check --help shows how)"
    )


def _nearest(survey: Survey, facts: SignalFacts, trace: Trace) -> str:
    if trace.is_without_pods:
        return _without_pods(survey, trace)
    if trace.labels:
        return (
            f"{facts.metric} is in this namespace, but no series has these matchers. "
            f"Its labels: {_labels(trace)}"
        )
    if trace.namespaces:
        return (
            f"{facts.metric} has series with namespace={', '.join(trace.namespaces[:SHOWN])} "
            "only: the policy must be in the namespace that the series name (honor_labels, or a "
            "relabelling, keeps an exporter's own)"
        )
    if trace.similar:
        return f"counters that there are: {', '.join(trace.similar[:SHOWN])}"
    return (
        "no counter of this namespace is known: are its pods scraped, and is it their Prometheus?"
    )


def _without_pods(survey: Survey, trace: Trace) -> str:
    label, target = survey.policy.spec.signals.labels.pod, survey.policy.spec.target_ref.name
    if label in trace.labels:
        return (
            f"the series there are belong to other pods ({', '.join(trace.labels[label][:3])}): "
            f"see spec.targetRef.name, and that the pods of {target} are scraped"
        )
    named = [
        name
        for name, values in trace.labels.items()
        if any(value.startswith(f"{target}-") for value in values)
    ]
    if named:
        return f"spec.signals.labels.pod: {named[0]} is the label that holds the pods' names"
    return (
        f"the series there are have no label {label!r} and none with names of {target}'s pods. "
        f"Their labels: {_labels(trace)}. If they come from an ingress or a gateway, set "
        'spec.signals.labels.pod to ""'
    )


def _labels(trace: Trace) -> str:
    return ", ".join(
        f"{name}={'|'.join(values[:3])}{'|...' if len(values) > 3 else ''}"  # noqa: PLR2004 (an example)
        for name, values in sorted(trace.labels.items())
        if not name.startswith("__")
    )
