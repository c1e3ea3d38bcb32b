"""ROLLOUTS.json: a Deployment as Kubernetes showed it over time."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from rollback_operator.api.user_text.documents import unknown_keys
from rollback_operator.cli.backtest.files import BadFileError, parse_model
from rollback_operator.cli.backtest.tracks import Tracks, hash_of
from rollback_operator.evidence.limits import STALE_INTERVALS
from rollback_operator.model.samples import LATEST

_TIME = TypeAdapter[Any](AwareDatetime)
_NO_TIME = "must be an RFC 3339 time as 2026-11-24T10:00:00Z"
MOST_RECORDED_PODS = 10_000
"""More than any Deployment has: a mistyped number must not block a batch for ever."""
MOST_EVENTS = 1_000_000
Seconds = Annotated[float, Field(ge=0)]


def _seconds(value: Any) -> Any:
    """Turn an RFC 3339 time into seconds since the epoch, if it is not that already."""
    if isinstance(value, float) and 0 <= value <= LATEST:
        return value
    if not isinstance(value, str):
        raise ValueError(_NO_TIME)  # noqa: TRY004 (pydantic reports ValueErrors with their field)
    return time_of(value)


def _moment(value: Any) -> Any:
    return value if value is None or isinstance(value, bool) else _seconds(value)


def not_boolean(value: Any) -> Any:
    """Reject true and false where a number is expected: pydantic takes them for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 (as above)
    return value


def time_of(text: str) -> float:
    """Parse an RFC 3339 time.

    Raises:
        ValueError: the text is not such a time.
    """
    try:
        seconds = float(_TIME.validate_python(text).timestamp())
    except ValueError:
        raise ValueError(_NO_TIME) from None
    if not 0 <= seconds <= LATEST:
        raise ValueError("must be a time from 1970 to 2286")
    return seconds


Time = Annotated[Seconds, BeforeValidator(_seconds)]
Moment = Annotated[bool | Seconds | None, BeforeValidator(_moment)]
"""A time, or only whether the event happened."""
PodCount = Annotated[int, BeforeValidator(not_boolean), Field(ge=0, le=MOST_RECORDED_PODS)]
EventCount = Annotated[int, BeforeValidator(not_boolean), Field(ge=0, le=MOST_EVENTS)]


class _RolloutModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Rollout(_RolloutModel):
    """A template that was rolled out."""

    time: Time
    template_hash: Annotated[str, Field(min_length=1, max_length=63)]
    revision: int | str | None = None
    image: str | None = None
    replicas: PodCount | None = None


class Observation(_RolloutModel):
    """The Deployment's status at a time; it holds until the next observation."""

    time: Time
    ready_replicas: PodCount | None = None
    updated_replicas: PodCount | None = None
    updated_ready_replicas: PodCount | None = None
    unavailable: bool | Annotated[int, Field(ge=0, le=MOST_RECORDED_PODS)] | None = None
    restarts: EventCount | None = None
    oom_kills: EventCount | None = None
    progress_deadline_exceeded: bool | None = None


class ListedPod(_RolloutModel):
    """A pod by name. `ready` and `deleted` are a time or a boolean, and unknown if absent."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    template_hash: str | None = None
    node: str | None = None
    ready: Moment = None
    deleted: Moment = None


class Rollouts(_RolloutModel):
    """A Deployment's past."""

    deployment: Annotated[str, Field(min_length=1, max_length=253)]
    namespace: Annotated[str, Field(min_length=1, max_length=63)]
    rollouts: Annotated[tuple[Rollout, ...], Field(min_length=1)]
    observations: tuple[Observation, ...] = ()
    pods: tuple[ListedPod, ...] = ()

    def label_of(self, template_hash: str, until: float) -> int | str:
        """Return the newest number of a revision up to a time, else its hash."""
        labels = [
            rollout.revision
            for rollout in self.rollouts
            if rollout.template_hash == template_hash
            and rollout.time <= until
            and rollout.revision is not None
        ]
        return labels[-1] if labels else template_hash


def parse_rollouts(raw: Any, warn: Callable[[str], None] = lambda _: None) -> Rollouts:
    """Make Rollouts from a parsed ROLLOUTS.json, in time order.

    Args:
        raw: the content of the file.
        warn: receives a warning for each unknown key.

    Raises:
        BadFileError: a field is missing or wrong; it is named.
    """
    if not isinstance(raw, Mapping):
        raise BadFileError("rollouts", "must be an object with deployment, namespace and rollouts")
    raw = {key: value for key, value in raw.items() if value is not None}
    parsed = parse_model(Rollouts, raw)
    for key in unknown_keys(Rollouts, raw):
        warn(f"{key} is unknown to this version and is ignored")
    names: set[str] = set()
    for index, pod in enumerate(parsed.pods):
        if pod.name in names:
            raise BadFileError(f"pods[{index}].name", f"{pod.name!r} is listed twice")
        names.add(pod.name)
    _warn_of_unmatched_pods(parsed, warn)
    return parsed.model_copy(
        update={
            "rollouts": tuple(sorted(parsed.rollouts, key=lambda rollout: rollout.time)),
            "observations": tuple(sorted(parsed.observations, key=lambda each: each.time)),
        }
    )


def _warn_of_unmatched_pods(parsed: Rollouts, warn: Callable[[str], None]) -> None:
    """Warn of listed pods that belong to no rollout of the file."""
    known = {rollout.template_hash for rollout in parsed.rollouts}
    for index, pod in enumerate(parsed.pods):
        in_name = hash_of(pod.name, parsed.deployment)
        if pod.template_hash is None and in_name not in known:
            warn(
                f"pods[{index}].name: {pod.name} is ignored: its name is not "
                f"{parsed.deployment}-<templateHash>-<5 characters>, and it has no templateHash"
            )
        elif pod.template_hash is not None and pod.template_hash not in known:
            warn(
                f"pods[{index}].templateHash: {pod.name} is ignored: no rollout has the hash "
                f"{pod.template_hash}"
            )
        elif pod.template_hash is not None and in_name in known - {pod.template_hash}:
            warn(
                f"pods[{index}].templateHash: {pod.template_hash} is not the hash in the name "
                f"{pod.name}"
            )


def warn_of_contradictions(rollouts: Rollouts, tracks: Tracks, warn: Callable[[str], None]) -> None:
    """Warn of observations without a pod of a release whose pods have samples at that time.

    The replay follows the file, so that the release would have no pods, and no verdict.
    """
    denied = [
        (observation.time, rollout.template_hash, count)
        for observation in rollouts.observations
        for rollout in [_current(rollouts, observation.time)]
        if observation.updated_replicas == 0
        and rollout is not None
        and (count := _read_pods(tracks, rollout, observation.time))
    ]
    if not denied:
        return
    time, template_hash, count = denied[0]
    more = f", and {len(denied) - 1} more observations like this" if len(denied) > 1 else ""
    warn(
        f"observations[].updatedReplicas: 0 at {datetime.fromtimestamp(time, UTC):%FT%TZ}, "
        f"although {count} pods of the running template {template_hash} have samples then{more}: "
        "the release counts as without pods. Correct the number, or leave it out"
    )


def _current(rollouts: Rollouts, time: float) -> Rollout | None:
    begun = [rollout for rollout in rollouts.rollouts if rollout.time <= time]
    return begun[-1] if begun else None


def _read_pods(tracks: Tracks, rollout: Rollout, time: float) -> int:
    """Count the pods of a rollout with a sample shortly before a time, and since the rollout."""
    since = max(rollout.time, time - STALE_INTERVALS * tracks.interval(time))
    newest = (
        track.last(time) for track in tracks.seen(time) if track.pod_hash == rollout.template_hash
    )
    return sum(last is not None and last >= since for last in newest)
