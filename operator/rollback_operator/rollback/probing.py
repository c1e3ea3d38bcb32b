"""Answers -> checks: functional probes, the pods' own health endpoints, lines of their logs.

No text of an answer, a header or a log line enters a message: it may hold secrets.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollback_operator.api.user_text.json_text import parsed
from rollback_operator.api.verification import HttpProbe, JsonExpectation, LogCheck
from rollback_operator.model.check import Check, failed, passed, unknown, unseeable
from rollback_operator.model.pod import Endpoint
from rollback_operator.rollback.verification import HEALTH, LOGS

_OK_FROM, _OK_BELOW = 200, 400
"""Status codes that the kubelet considers healthy."""
MOST_PROBES_NAMED = 3


@dataclass(frozen=True, slots=True)
class ProbeResponse:
    """Answer from an address."""

    status: int
    body: bytes = b""
    is_whole: bool = True
    """The body is complete."""


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer."""

    message: str
    is_final: bool = False
    """It is never requested: the address is refused, or a Secret is forbidden."""


Reply = ProbeResponse | Silence


def functional(probe: HttpProbe, reply: Reply, tries: int) -> Check:
    """Check that a functional probe has the expected answer.

    Args:
        probe: the request and the expected answer.
        reply: the last answer.
        tries: the number of requests.
    """
    if isinstance(reply, Silence):
        make = unseeable if reply.is_final else unknown
        return make(probe.name, reply.message)
    attempts = f" ({tries} attempts)" if tries > 1 else ""
    message = f"{probe.method} answered {reply.status}"
    if reply.status not in probe.expect_status:
        wanted = " or ".join(map(str, sorted(probe.expect_status)))
        return failed(probe.name, f"{message} instead of {wanted}{attempts}")
    if probe.expect_json is None:
        return passed(probe.name, message + attempts)
    fault = _fault(probe.expect_json, reply)
    if fault:
        return failed(probe.name, f"{message}, but {fault}{attempts}")
    return passed(probe.name, f"{message} with the expected {probe.expect_json.path}{attempts}")


def _fault(expected: JsonExpectation, answer: ProbeResponse) -> str:
    if not answer.is_whole:
        return "the response is too long to parse as JSON"
    try:
        value = parsed(answer.body)
    except ValueError:
        return "the response is not JSON"
    for part in re.findall(r"[^.\[\]\s]+", expected.path):
        value = _within(value, part)
        if value is _ABSENT:
            return f"the response has no {expected.path}"
    text = value if isinstance(value, str) else json.dumps(value)
    return "" if text == expected.value else f"{expected.path} is not {expected.value!r}"


_ABSENT = object()


def _within(value: Any, part: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(part, _ABSENT)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return _ABSENT


def health(replies: Sequence[tuple[str, Endpoint, Reply]], pods: int) -> Check:
    """Check that all requested pods report that they are healthy.

    Args:
        replies: pod, endpoint, and its answer.
        pods: the number of pods, requested or not.
    """
    requested = len({pod for pod, _, _ in replies})
    paths = ", ".join(sorted({endpoint.path for _, endpoint, _ in replies}))
    bad = [
        f"{reply.status} at {endpoint.path} of {pod}"
        for pod, endpoint, reply in replies
        if isinstance(reply, ProbeResponse) and not _OK_FROM <= reply.status < _OK_BELOW
    ]
    if bad:
        more = f" and {len(bad) - MOST_PROBES_NAMED} more" if len(bad) > MOST_PROBES_NAMED else ""
        return failed(HEALTH, f"{', '.join(bad[:MOST_PROBES_NAMED])}{more}")
    silent = [(pod, answer) for pod, _, answer in replies if isinstance(answer, Silence)]
    if silent:
        pod, first = silent[0]
        count = len({name for name, _ in silent})
        message = f"{count} of {requested} pods did not respond: {pod}: {first.message}"
        return unknown(HEALTH, message)
    return passed(HEALTH, f"{paths}: healthy on {requested} of {pods} pods")


@dataclass(frozen=True, slots=True)
class LineCount:
    """The number of lines in a pod's log that contain the pattern."""

    lines: int
    is_whole: bool = True
    """The log was read to its end."""


def logs(check: LogCheck, counts: Mapping[str, LineCount | Silence], pods: int) -> Check:
    """Check that the pods have not written the pattern too often.

    Args:
        check: the pattern, and its limit.
        counts: by pod.
        pods: the number of pods, read or not.
    """
    line_counts = {pod: count for pod, count in counts.items() if isinstance(count, LineCount)}
    lines = sum(count.lines for count in line_counts.values())
    silent = [count for count in counts.values() if isinstance(count, Silence)]
    message = (
        f"{lines} lines with {check.pattern} in {len(line_counts)} of {pods} pods since the "
        "rollback"
    )
    if lines > check.at_most:
        worst = max(line_counts, key=lambda pod: line_counts[pod].lines)
        detail = f"{message}, {line_counts[worst].lines} of them in {worst}"
        return failed(LOGS, f"{detail}; {check.at_most} are allowed")
    if silent:
        make = unseeable if all(silence.is_final for silence in silent) else unknown
        return make(LOGS, f"{len(silent)} of {len(counts)} pods: {silent[0].message}")
    if any(not count.is_whole for count in line_counts.values()):
        return unknown(LOGS, f"{message}, in the part of the logs that was read: there is more")
    return passed(LOGS, f"{message}; {check.at_most} are allowed")
