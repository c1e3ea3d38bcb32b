"""Freeze windows: periods without automatic action, in a time zone."""

import re
from datetime import datetime, time
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, Field, field_validator, model_validator

from rollback_operator.api.shape import Label, Model, cel

_CLOCK = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
_DATE = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]$"
_FORM = "from and until must both be clock times (22:00) or both be dates (2026-12-24T18:00)"
_ORDER = "until must be later than from"
_DAYS = "days requires clock times in from and until"
MOMENT = f"({_CLOCK})|({_DATE})"

Moment = Annotated[str, Field(max_length=16, pattern=MOMENT)]


class Day(StrEnum):
    """Day of the week."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class FrozenSeverity(StrEnum):
    """Severity that can be exempt from a freeze window."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


def _shape(schema: dict[str, Any]) -> None:
    schema["x-kubernetes-validations"] = [
        cel(
            "self.from.contains('T') == self.until.contains('T')",
            _FORM,
            ".until",
        ),
        cel(
            "!self.from.contains('T') || self.from < self.until",
            _ORDER,
            ".until",
        ),
        cel(
            "!has(self.days) || !self.from.contains('T')",
            _DAYS,
            ".days",
        ),
    ]


class FreezeWindow(Model):
    """Period without automatic action.

    Releases are evaluated and people are notified, but the operator does not roll back or pause
    rollouts automatically. Rollbacks that a person requests are executed. Example for nights: name:
    night, from: "22:00", until: "06:00", timeZone: Europe/Berlin.
    """

    model_config = ConfigDict(json_schema_extra=_shape)

    name: Label
    """Name of the window in messages."""
    time_zone: Annotated[
        str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")
    ] = "UTC"
    """IANA time zone of `from` and `until`, such as Europe/Berlin. Default: UTC."""
    from_: Annotated[Moment, Field(alias="from")]
    """Start of the window: a clock time such as "22:00", which recurs daily or on `days`, or a date
    such as "2026-12-24T18:00", which applies once."""
    until: Moment
    """End of the window, in the same form as `from`. A clock time that is not later than `from`
    refers to the next day."""
    days: (
        Annotated[
            list[Day],
            Field(min_length=1, max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Days of the week on which a recurring window starts. Only for clock times. Default: every
    day."""
    exempt: Annotated[
        list[FrozenSeverity],
        Field(max_length=3, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """Severities for which automatic action continues during the window, such as P1. Default:
    none."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name} is not a known time zone; example: Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.is_daily != bool(re.match(_CLOCK, self.until)):
            raise ValueError(_FORM)
        if self.is_daily:
            return self
        if self.days is not None:
            raise ValueError(_DAYS)
        if datetime.fromisoformat(self.from_) >= datetime.fromisoformat(self.until):
            raise ValueError(_ORDER)
        return self

    @property
    def is_daily(self) -> bool:
        """Return whether the window recurs, daily or on days of the week."""
        return "T" not in self.from_

    @property
    def zone(self) -> ZoneInfo:
        """Time zone of the window."""
        return ZoneInfo(self.time_zone)

    @property
    def hours(self) -> tuple[time, time]:
        """Start and end of a recurring window."""
        return time.fromisoformat(self.from_), time.fromisoformat(self.until)
