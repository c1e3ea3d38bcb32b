"""ROLLOUTS.json: what Kubernetes would have shown over time."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from rollback_operator.api.user_text.documents import unknown_keys
from rollback_operator.cli.backtest.files import BadFileError, parsed
from rollback_operator.cli.backtest.tracks import hash_of
from rollback_operator.model.samples import LATEST

_TIME = TypeAdapter[Any](AwareDatetime)
_NO_TIME = "must be an RFC 3339 time as 2026-11-24T10:00:00Z"
MOST_RECORDED_PODS = 10_000
"""More than any Deployment has: a mistyped number must not keep a batch busy for ever."""
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


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 (as above)
    return value


def time_of(text: str) -> float:
    """Read an RFC 3339 time.

    Raises:
        ValueError: it is none.
    """
    try:
        found = float(_TIME.validate_python(text).timestamp())
    except ValueError:
        raise ValueError(_NO_TIME) from None
    if not 0 <= found <= LATEST:
        raise ValueError("must be a time from 1970 to 2286")
    return found


Time = Annotated[Seconds, BeforeValidator(_seconds)]
Moment = Annotated[bool | Seconds | None, BeforeValidator(_moment)]
"""A time, or only whether it came about."""
PodCount = Annotated[int, BeforeValidator(_number), Field(ge=0, le=MOST_RECORDED_PODS)]
EventCount = Annotated[int, BeforeValidator(_number), Field(ge=0, le=MOST_EVENTS)]


class _RolloutModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Rollout(_RolloutModel):
    """A template that the Deployment got."""

    time: Time
    template_hash: Annotated[str, Field(min_length=1, max_length=63)]
    revision: int | str | None = None
    image: str | None = None
    replicas: PodCount | None = None


class Observation(_RolloutModel):
    """The Deployment's status at a time; it holds until the next one."""

    time: Time
    ready_replicas: PodCount | None = None
    updated_replicas: PodCount | None = None
    updated_ready_replicas: PodCount | None = None
    unavailable: bool | Annotated[int, Field(ge=0, le=MOST_RECORDED_PODS)] | None = None
    restarts: EventCount | None = None
    oom_kills: EventCount | None = None
    progress_deadline_exceeded: bool | None = None


class ListedPod(_RolloutModel):
    """A pod by name. `ready` and `deleted`: when, or whether at all; absent: not known."""

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
        """Name a revision as the file does: by its newest number up to a time, else by its hash."""
        known = [one for one in self.rollouts if one.template_hash == template_hash]
        labels = [one.revision for one in known if one.time <= until and one.revision is not None]
        return labels[-1] if labels else template_hash


def parse_rollouts(raw: Any, warn: Callable[[str], None] = lambda _: None) -> Rollouts:
    """Make Rollouts from a parsed ROLLOUTS.json, in time order.

    Args:
        raw: what the file holds.
        warn: is told of each key that is not known.

    Raises:
        BadFileError: a field is missing or wrong; it is named.
    """
    if not isinstance(raw, Mapping):
        raise BadFileError("rollouts", "must be an object with deployment, namespace and rollouts")
    raw = {key: value for key, value in raw.items() if value is not None}
    found = parsed(Rollouts, raw)
    for key in unknown_keys(Rollouts, raw):
        warn(f"{key} is not known to this version and is ignored")
    names = [one.name for one in found.pods]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadFileError(f"pods[{index}].name", f"{name!r} is listed twice")
    _tell_strange_pods(found, warn)
    return found.model_copy(
        update={
            "rollouts": tuple(sorted(found.rollouts, key=lambda one: one.time)),
            "observations": tuple(sorted(found.observations, key=lambda one: one.time)),
        }
    )


def _tell_strange_pods(found: Rollouts, warn: Callable[[str], None]) -> None:
    """Tell which listed pods cannot be told to belong to a rollout of the file."""
    known = {one.template_hash for one in found.rollouts}
    for index, pod in enumerate(found.pods):
        named = hash_of(pod.name, found.deployment)
        if pod.template_hash is None and named not in known:
            warn(
                f"pods[{index}].name: {pod.name} is not named "
                f"{found.deployment}-<templateHash>-<5 characters>, and it has no templateHash: "
                "it is ignored"
            )
        elif pod.template_hash is not None and pod.template_hash not in known:
            warn(
                f"pods[{index}].templateHash: {pod.template_hash} is none of the rollouts': "
                f"{pod.name} is ignored"
            )
        elif pod.template_hash is not None and named in known - {pod.template_hash}:
            warn(
                f"pods[{index}].templateHash: {pod.template_hash}, but {pod.name} is named as one "
                f"of {named}"
            )
