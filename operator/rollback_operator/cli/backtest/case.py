"""One case: files, a Prometheus, a clock -> a replay."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollback_operator.adapters.prometheus import (
    Access,
    Limits,
    PrometheusMetrics,
    PrometheusTrends,
)
from rollback_operator.api.shape import base_address
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.cli.backtest.files import BadFileError, read_file
from rollback_operator.cli.backtest.history import History, read_history
from rollback_operator.cli.backtest.policy import parse_policy
from rollback_operator.cli.backtest.replay import Replay, Replayed, ReplaySchedule
from rollback_operator.cli.backtest.rollouts import Rollouts, parse_rollouts, time_of
from rollback_operator.cli.backtest.vectors import PastVectors
from rollback_operator.evidence.baseline import HOUR_SECONDS
from rollback_operator.model.samples import LATEST
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.reconcile.observe.observation import Source, all_pods
from rollback_operator.runtime.settings import Settings, faults

OPTIONS = ("policy", "rollouts", "prometheus", "start", "end", "step")
LIMITS = Limits(read_seconds=30.0)
"""A replay waits for an hour of samples; a look waits for the newest ones."""
MOST_MOMENTS = 2_000_000
LONGEST_OPEN_SECONDS = 6 * 3600.0
BEFORE_SECONDS = 120.0
Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CaseOptions:
    """What one case is run with."""

    policy: Any
    rollouts: Any
    """Files, or what they would hold."""
    prometheus: str
    span: ReplaySchedule
    is_continued: bool = False
    keeps_looks: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """A case that was run."""

    policy: RollbackPolicy
    rollouts: Rollouts
    history: History
    span: ReplaySchedule
    found: Replayed


def parse_options(given: Mapping[str, Any], folder: Path) -> CaseOptions:
    """Read one case's options: those of the command line, or of a line of a batch.

    Raises:
        BadFileError: one is missing or wrong; it is named.
    """
    lacking = [name for name in OPTIONS if given.get(name) is None]
    if lacking:
        raise BadFileError(lacking[0], "is missing")
    start, end = _time("start", given["start"]), _time("end", given["end"])
    step = _step(given["step"])
    if end < start:
        raise BadFileError("end", "is before start")
    if (end - start) / step > MOST_MOMENTS:
        raise BadFileError("step", f"gives more than {MOST_MOMENTS} looks: take a longer step")
    url = _url(given["prometheus"])
    is_continued = given.get("continue", False)
    if not isinstance(is_continued, bool):
        raise BadFileError("continue", "must be true or false")
    return CaseOptions(
        policy=_document("policy", given["policy"], folder),
        rollouts=_document("rollouts", given["rollouts"], folder),
        prometheus=url,
        span=ReplaySchedule(start, end, step),
        is_continued=is_continued,
    )


async def run_case(options: CaseOptions, warn: Warn) -> Ran:
    """Read the past and replay it.

    Args:
        options: of the case.
        warn: is told of what is ignored.

    Raises:
        BadFileError: a file cannot be used; the field is named.
    """
    rollouts = parse_rollouts(options.rollouts, warn)
    policy = parse_policy(options.policy, rollouts, warn)
    tenant = policy.spec.prometheus.tenant or ""
    span = options.span
    metrics = PrometheusMetrics(
        _access(options.prometheus), LIMITS, min(span.end, span.start + HOUR_SECONDS / 2)
    )
    try:
        query = all_pods(
            Source(policy, Prometheus(options.prometheus, tenant=tenant)),
            rollouts.namespace,
            rollouts.deployment,
        )
        begin = _opened(rollouts, span) - HOUR_SECONDS - BEFORE_SECONDS
        history = await read_history(metrics, query, begin, span.end)
        vectors = PastVectors(metrics, span.start, span.end, span.step)
        replay = Replay(
            policy,
            rollouts,
            history,
            is_continued=options.is_continued,
            keeps_looks=options.keeps_looks,
            trends=PrometheusTrends(vectors),
            url=options.prometheus,
        )
        found = await replay.follow(span)
    finally:
        metrics.close()
    return Ran(policy, rollouts, history, span, found)


def _access(url: str) -> Access:
    """Read the credentials where the operator finds its own."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise BadFileError(*faults(error)[0]) from None
    return Access(
        settings.prometheus_token_file,
        settings.prometheus_ca_file,
        url,
        login_folder=settings.prometheus_basic_auth_folder,
        tenant=settings.prometheus_tenant or "",
    )


def _opened(rollouts: Rollouts, span: ReplaySchedule) -> float:
    """Give the earliest time at which a watch may begin: a release may be younger than `start`."""
    known = [one.time for one in rollouts.rollouts if one.time <= span.start]
    newest = known[-1] if known else span.start
    return newest if span.start - newest <= LONGEST_OPEN_SECONDS else span.start


def _document(name: str, given: Any, folder: Path) -> Any:
    if not isinstance(given, str | Path):
        return given
    try:
        return read_file(folder / given)
    except BadFileError as error:
        raise BadFileError(name, error.message) from None


def _time(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= LATEST:
            raise BadFileError(name, f"must be seconds since 1970, not {value!r}")
        return float(value)
    try:
        return time_of(str(value))
    except ValueError as error:
        raise BadFileError(name, f"{error}, not {value!r}") from None


def _url(value: Any) -> str:
    try:
        return base_address(str(value))
    except ValueError as error:
        raise BadFileError("prometheus", f"{error}, not {value!r}") from None


def _step(value: Any) -> float:
    try:
        step = float(value)
    except (TypeError, ValueError):
        step = 0.0
    if isinstance(value, bool) or not 0 < step < float("inf"):
        raise BadFileError("step", f"must be a number of seconds above 0, not {value!r}")
    return step


def rfc3339(seconds: float) -> str:
    """Write a time; what is finer than a millisecond is cut off, never rounded up."""
    moment = datetime.fromtimestamp(seconds, UTC)
    shown = "seconds" if moment.microsecond < 1000 else "milliseconds"  # noqa: PLR2004
    return moment.isoformat(timespec=shown).replace("+00:00", "Z")
