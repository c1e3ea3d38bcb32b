"""Writes PromQL. A policy's text is quoted or matches a pattern, so it cannot change a query."""

import json
import re
from collections.abc import Iterable, Mapping

from rollback_operator.api.v1alpha1 import split_matcher
from rollback_operator.ports.metrics import CounterQuery

_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def selector(
    query: CounterQuery, metric: str, pairs: Mapping[str, str], present: Iterable[str] = ()
) -> str:
    """Select the series of a signal for the pods of a query.

    Args:
        query: namespace and pods; without pods or a pod label, all pods.
        metric: the metric that counts the signal.
        pairs: the signal's matchers.
        present: labels that the series must have, with any value.
    """
    parts = matchers(pairs, query.namespace) + [f'{quoted(name)}!=""' for name in present]
    if query.labels.pod and query.pods:
        parts.append(f"{quoted(query.labels.pod)}=~{text('|'.join(query.pods))}")
    return select(metric, parts)


def select(metric: str, parts: Iterable[str]) -> str:
    """Select series of a metric by matchers; a UTF-8 name of Prometheus 3 goes into the braces."""
    if _PLAIN.fullmatch(metric):
        return f"{metric}{{{','.join(parts)}}}"
    return f"{{{','.join([text(metric), *parts])}}}"


def matchers(pairs: Mapping[str, str], namespace: str) -> list[str]:
    """Write a signal's matchers; none of them can leave the namespace."""
    split = {name: split_matcher(value) for name, value in pairs.items()}
    split["namespace"] = ("=", namespace)
    return [
        f"{quoted(name)}{operator}{text(operand)}"
        for name, (operator, operand) in sorted(split.items())
    ]


def inexact_labels(pairs: Mapping[str, str]) -> list[str]:
    """List the labels with a matcher other than equality."""
    return sorted(name for name, value in pairs.items() if split_matcher(value)[0] != "=")


def number(label: str, value: str) -> str:
    """Match a label with a number: `1` of Prometheus 2 is `1.0` in Prometheus 3."""
    whole, _, part = value.partition(".")
    part = part.rstrip("0")
    pattern = rf"{re.escape(whole)}\.{re.escape(part)}0*" if part else rf"{re.escape(whole)}(\.0+)?"
    return f"{quoted(label)}=~{text(pattern)}"


def quoted(name: str) -> str:
    """Write a label's name; a UTF-8 name of Prometheus 3, such as http.route, is quoted."""
    return name if _PLAIN.fullmatch(name) else text(name)


def text(value: str) -> str:
    """Write a quoted string."""
    return json.dumps(value, ensure_ascii=False)
