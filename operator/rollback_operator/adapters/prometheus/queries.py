"""Writes PromQL. What a policy says gets into quotes or through a pattern, never in between."""

import json
import re
from collections.abc import Iterable, Mapping

from rollback_operator.api.v1alpha1 import split_matcher
from rollback_operator.ports.metrics import CounterQuery

_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def selector(
    query: CounterQuery, metric: str, pairs: Mapping[str, str], present: Iterable[str] = ()
) -> str:
    """Select the series of a signal that belong to the pods of a query.

    Args:
        query: namespace and pods; no pods or no pod label means: of all pods.
        metric: the name under which the signal's counts are found.
        pairs: the signal's matchers.
        present: labels that the series must have, whatever their value.
    """
    found = matchers(pairs, query.namespace) + [f'{quoted(name)}!=""' for name in present]
    if query.labels.pod and query.pods:
        found.append(f"{quoted(query.labels.pod)}=~{text('|'.join(query.pods))}")
    return select(metric, found)


def select(metric: str, found: Iterable[str]) -> str:
    """Select series of a metric by matchers; a name of Prometheus 3 goes into the braces."""
    if _PLAIN.fullmatch(metric):
        return f"{metric}{{{','.join(found)}}}"
    return f"{{{','.join([text(metric), *found])}}}"


def matchers(pairs: Mapping[str, str], namespace: str) -> list[str]:
    """Write a signal's matchers; nothing in them leads out of the namespace."""
    split = {name: split_matcher(value) for name, value in pairs.items()}
    split["namespace"] = ("=", namespace)
    return [
        f"{quoted(name)}{operator}{text(operand)}"
        for name, (operator, operand) in sorted(split.items())
    ]


def telling(pairs: Mapping[str, str]) -> list[str]:
    """Name the labels that are matched by more than an exact value."""
    return sorted(name for name, value in pairs.items() if split_matcher(value)[0] != "=")


def number(label: str, value: str) -> str:
    """Match a label that holds a number: the `1` of Prometheus 2 is `1.0` to Prometheus 3."""
    whole, _, part = value.partition(".")
    part = part.rstrip("0")
    pattern = rf"{re.escape(whole)}\.{re.escape(part)}0*" if part else rf"{re.escape(whole)}(\.0+)?"
    return f"{quoted(label)}=~{text(pattern)}"


def quoted(name: str) -> str:
    """Write a label's name; one that only Prometheus 3 knows, as http.route, is put in quotes."""
    return name if _PLAIN.fullmatch(name) else text(name)


def text(value: str) -> str:
    """Write a string in quotes."""
    return json.dumps(value, ensure_ascii=False)
