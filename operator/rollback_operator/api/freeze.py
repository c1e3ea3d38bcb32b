"""Freeze: times in which nothing is done by itself, in the time of some place."""

import re
from datetime import datetime, time
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, Field, field_validator, model_validator

from rollback_operator.api.shape import Label, Model, cel

_CLOCK = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
_DATE = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]$"
MOMENT = f"({_CLOCK})|({_DATE})"

Moment = Annotated[str, Field(max_length=16, pattern=MOMENT)]


class Day(StrEnum):
    """A day of the week."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class FrozenSeverity(StrEnum):
    """A severity that may be acted on in a freeze all the same."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


def _shape(schema: dict[str, Any]) -> None:
    schema["x-kubernetes-validations"] = [
        cel(
            "self.from.contains('T') == self.until.contains('T')",
            "from and until are both clock times (22:00) or both dates (2026-12-24T18:00)",
            ".until",
        ),
        cel(
            "!self.from.contains('T') || self.from < self.until",
            "until is after from",
            ".until",
        ),
        cel(
            "!has(self.days) || !self.from.contains('T')",
            "days belongs to clock times",
            ".days",
        ),
    ]


class FreezeWindow(Model):
    """A time in which the operator judges and tells, and does nothing by itself."""

    model_config = ConfigDict(json_schema_extra=_shape)

    name: Label
    """What it is called in messages."""
    time_zone: Annotated[
        str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")
    ] = "UTC"
    """A name of the IANA time zone database, as Europe/Berlin: whose clocks count."""
    from_: Annotated[Moment, Field(alias="from")]
    """When it begins: a clock time for every day, as 22:00, or a date, as 2026-12-24T18:00."""
    until: Moment
    """When it is over, in the same form. A clock time not after `from` is the next day's."""
    days: (
        Annotated[
            list[Day],
            Field(min_length=1, max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """On which days it begins, for clock times. Default: every day."""
    exempt: Annotated[
        list[FrozenSeverity],
        Field(max_length=3, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """Severities that are acted on all the same. Default: none."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name} is no time zone that is known here: Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.is_daily != bool(re.match(_CLOCK, self.until)):
            raise ValueError(
                "from and until are both clock times (22:00) or both dates (2026-12-24T18:00)"
            )
        if self.is_daily:
            return self
        if self.days is not None:
            raise ValueError("days belongs to clock times")
        if datetime.fromisoformat(self.from_) >= datetime.fromisoformat(self.until):
            raise ValueError("until is after from")
        return self

    @property
    def is_daily(self) -> bool:
        """Tell whether it comes back every day, or on some days of the week."""
        return "T" not in self.from_

    @property
    def zone(self) -> ZoneInfo:
        """The place whose time it is in."""
        return ZoneInfo(self.time_zone)

    @property
    def hours(self) -> tuple[time, time]:
        """Begin and end of one that comes back."""
        return time.fromisoformat(self.from_), time.fromisoformat(self.until)
