"""Runs a case: files, a Prometheus and a clock make a replay."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from rollback_operator.adapters.prometheus import (
    Access,
    Limits,
    PrometheusMetrics,
    PrometheusTrends,
)
from rollback_operator.api.shape import base_address
from rollback_operator.api.v1alpha1 import RollbackPolicy
from rollback_operator.cli.backtest.files import BadFileError, parse_model, read_file
from rollback_operator.cli.backtest.history import History, PastVectors, read_history
from rollback_operator.cli.backtest.policy import parse_policy
from rollback_operator.cli.backtest.replay import Replay, Replayed, ReplaySchedule
from rollback_operator.cli.backtest.rollouts import (
    Rollouts,
    Time,
    not_boolean,
    parse_rollouts,
    warn_of_contradictions,
)
from rollback_operator.evidence.baseline import HOUR_SECONDS
from rollback_operator.ports.metrics import Prometheus
from rollback_operator.reconcile.observe.observation import Source, all_pods
from rollback_operator.runtime.settings import Settings, faults

OPTIONS = ("policy", "rollouts", "prometheus", "start", "end", "step")
LIMITS = Limits(read_seconds=30.0)
"""A replay reads an hour of samples at once, a pass only the newest."""
MOST_MOMENTS = 2_000_000
LONGEST_OPEN_SECONDS = 6 * 3600.0
BEFORE_SECONDS = 120.0
Warn = Callable[[str], None]


def _as_float(value: Any) -> Any:
    return float(value) if type(value) is int else value


_Time = Annotated[Time, BeforeValidator(_as_float)]


class CaseOptions(BaseModel):
    """The options of a case, of the command line or of a line of a batch."""

    model_config = ConfigDict(frozen=True)

    policy: Any
    rollouts: Any
    """The contents of the files."""
    prometheus: Annotated[str, AfterValidator(base_address), BeforeValidator(str)]
    start: _Time
    end: _Time
    step: Annotated[float, BeforeValidator(not_boolean), Field(gt=0, allow_inf_nan=False)]
    is_continued: Annotated[bool, Field(alias="continue", strict=True)] = False
    keeps_evaluations: bool = False

    @property
    def span(self) -> ReplaySchedule:
        """The virtual clock."""
        return ReplaySchedule(self.start, self.end, self.step)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case with the result of its replay."""

    policy: RollbackPolicy
    rollouts: Rollouts
    history: History
    span: ReplaySchedule
    replayed: Replayed


def parse_options(given: Mapping[str, Any], folder: Path) -> CaseOptions:
    """Parse the options of a case.

    Args:
        given: as JSON or as the texts of the command line.
        folder: of relative paths.

    Raises:
        BadFileError: an option is missing or wrong; it is named.
    """
    names = (*OPTIONS, "continue")
    known = {name: given[name] for name in names if given.get(name) is not None}
    for name in ("policy", "rollouts"):
        if isinstance(known.get(name), str | Path):
            try:
                known[name] = read_file(folder / known[name])
            except BadFileError as error:
                raise BadFileError(name, error.message) from None
    options = parse_model(CaseOptions, known)
    if options.end < options.start:
        raise BadFileError("end", "is before start")
    if (options.end - options.start) / options.step > MOST_MOMENTS:
        raise BadFileError("step", f"makes more than {MOST_MOMENTS} evaluations: use a longer step")
    return options


async def run_case(options: CaseOptions, warn: Warn) -> CaseResult:
    """Read the past and replay it.

    Args:
        options: of the case.
        warn: receives a warning for everything that is ignored.

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
            keeps_evaluations=options.keeps_evaluations,
            trends=PrometheusTrends(vectors),
            url=options.prometheus,
        )
        warn_of_contradictions(rollouts, replay.tracks, warn)
        replayed = await replay.follow(span)
    finally:
        metrics.close()
    return CaseResult(policy, rollouts, history, span, replayed)


def _access(url: str) -> Access:
    """Use the operator's own credentials."""
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
    """Return the earliest time at which a watch may begin: a release may precede `start`."""
    known = [rollout.time for rollout in rollouts.rollouts if rollout.time <= span.start]
    newest = known[-1] if known else span.start
    return newest if span.start - newest <= LONGEST_OPEN_SECONDS else span.start


def rfc3339(seconds: float) -> str:
    """Format a time, cut off to milliseconds, never rounded up."""
    moment = datetime.fromtimestamp(seconds, UTC)
    shown = "seconds" if moment.microsecond < 1000 else "milliseconds"  # noqa: PLR2004
    return moment.isoformat(timespec=shown).replace("+00:00", "Z")
