"""All budgets of memory, used up at once, leave the operator within the chart's limit."""

from __future__ import annotations

import ast
import tracemalloc
from pathlib import Path

import yaml

from rollback_operator.adapters.fairness import holdings
from rollback_operator.adapters.http import page_text, pod_pages
from rollback_operator.adapters.kube import apiserver, response_budget
from rollback_operator.adapters.postgres import database, down, reader
from rollback_operator.adapters.prometheus import budget, session, transport
from rollback_operator.adapters.prometheus.decoding import SAMPLE_VALUE_BYTES
from rollback_operator.api.user_text import expression
from rollback_operator.evidence import retention
from rollback_operator.runtime import listening
from tests.syntax import parsed

MIB = 1 << 20
ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "operator" / "rollback_operator"
BASE = 100 * MIB
"""The program with five hundred policies at rest: 91 MiB, and 18 KiB each."""
REMEMBERED_BYTES = 4 * 1024
"""A line of a page in ASCII, parsed: measured below, with as many labels as it can have."""

BUDGETS = {
    "Prometheus' answers": budget.MOST_ANSWERS_BYTES,
    "their first bytes": budget.FREE_ANSWER_BYTES * (session.OWN_THREADS + session.OTHER_THREADS),
    "the API server's answers": response_budget.MOST_RESPONSES_BYTES,
    "objects of lists": apiserver.LIST_BYTES,
    "watches": holdings.MOST_WATCHED_BYTES,
    "pods' pages": page_text.MOST_PAGES_BYTES,
    "lines of pages": pod_pages.KNOWN_SERIES * REMEMBERED_BYTES,
    "matches": pod_pages.KNOWN_MATCHES * 1024,
    "expressions": expression.KNOWN * expression.MOST_MEMORY,
    "processes that read databases": database.AT_ONCE * reader.MOST_MEMORY_BYTES,
    "processes that change databases": down.CHANGING_AT_ONCE * reader.MOST_MEMORY_BYTES,
    "connections to its own port": listening.MOST_CONNECTIONS * listening.MOST_CONNECTION_MEMORY,
    "what they answer": database.AT_ONCE * database.MOST_READER_BYTES,
}
WITHIN_ONE = {
    ("adapters/kube/response_budget", "ANSWER_BYTES"),
    ("adapters/kube/response_budget", "CLOSELY_BYTES"),
    ("adapters/postgres/database", "MOST_READER_BYTES"),
    ("adapters/postgres/database", "MOST_SENT_BYTES"),
    ("adapters/postgres/reader", "MOST_MEMORY_BYTES"),
    ("evidence/retention", "MOST_SERIES_BYTES"),
}
"""Bounds of one answer or one watch: what all of them take is among the budgets, or small.
Commands and the Compose agent are processes of their own.
"""
COUNTED = {
    ("adapters/kube/response_budget", "MOST_RESPONSES_BYTES"),
    ("adapters/kube/apiserver", "LIST_BYTES"),
    ("adapters/fairness/holdings", "MOST_WATCHED_BYTES"),
    ("adapters/http/page_text", "MOST_PAGES_BYTES"),
    ("adapters/prometheus/budget", "MOST_ANSWERS_BYTES"),
}


def limit() -> int:
    values = yaml.safe_load((ROOT / "deploy/helm/rollback-operator/values.yaml").read_text())
    said = values["resources"]["limits"]["memory"]
    assert said.endswith("Mi")
    return int(said.removesuffix("Mi")) * MIB


def test_all_budgets_together_fit_into_the_charts_limit() -> None:
    taken = {name: f"{size / MIB:.0f} MiB" for name, size in BUDGETS.items()}
    assert BASE + sum(BUDGETS.values()) <= limit(), taken


def test_no_bound_of_many_bytes_is_left_out() -> None:
    found = {
        (path.relative_to(SOURCE).with_suffix("").as_posix(), target.id)
        for path in SOURCE.rglob("*.py")
        for one in parsed(path.read_text()).body
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name) and target.id.endswith("_BYTES")
        if not path.is_relative_to(SOURCE / "cli")
        if not path.is_relative_to(SOURCE / "adapters" / "compose")
        if (_value(one.value) or 0) >= 4 * MIB
    }
    assert found == WITHIN_ONE | COUNTED


def _value(node: ast.expr) -> int | None:
    """Give the value of a product of numbers and MIB."""
    match node:
        case ast.Constant(value=int(found)):
            return found
        case ast.Name(id="MIB"):
            return MIB
        case ast.BinOp(left, ast.Mult() | ast.LShift() as operator, right):
            first, second = _value(left), _value(right)
            if first is None or second is None:
                return None
            return first * second if isinstance(operator, ast.Mult) else first << second
    return None


def test_one_namespace_may_have_each_answer_that_is_within_its_limits() -> None:
    limits = transport.DEFAULT_QUERY_LIMITS
    samples = limits.most_values * (
        SAMPLE_VALUE_BYTES + 10
    )  # "1700000000.123,"0.1234567890"" are three
    assert samples <= budget.MOST_ANSWERS_BYTES // 2
    assert response_budget.ANSWER_BYTES <= response_budget.MOST_RESPONSES_BYTES // 2
    assert retention.MOST_SERIES_BYTES <= holdings.MOST_WATCHED_BYTES // 2
    line = retention.SERIES_BYTES + 6 * retention.LABEL_BYTES + 150
    assert page_text.PageLimits().most_lines_of_all * line <= page_text.MOST_PAGES_BYTES // 2


def test_what_is_remembered_of_a_line_is_small() -> None:
    pod_pages._known_sample.cache_clear()
    lines = []
    for number in range(200):
        labels = ",".join(f'l{number}{index}="v"' for index in range(60))
        cut = labels[: pod_pages.LONGEST_KNOWN - 3].rpartition('",')[0]
        lines.append("m{" + cut + '"} 0')
    tracemalloc.start()
    try:
        for line in lines:
            pod_pages._known_sample(line)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        pod_pages._known_sample.cache_clear()
    assert taken / len(lines) <= REMEMBERED_BYTES
