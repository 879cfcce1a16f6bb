"""Schemas of what people want to hear and when, and of what apps set for everybody: working hours and caps."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler

from hub.api.schemas import Duration, Line, Strict, TimeZone, depth_of
from hub.core.caps import CapThen, FrequencyCap, parse_caps
from hub.core.worktime import WorkCalendar, parse_calendar

PREFERENCES: Final[dict[str, Any]] = {
    "channels": {"wechat_mp": False},
    "categories": {"marketing": False},
    "quiet_hours": {"start": "22:00", "end": "08:00"},
    "mute": ["thread:inst-778"],
    "sound": True,
}
CALENDAR: Final[dict[str, Any]] = {
    "timezone": "Asia/Shanghai",
    "week": {
        day: [["09:00", "12:00"], ["13:30", "18:00"]] if day not in ("sat", "sun") else []
        for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    },
    "holidays": ["2026-10-01"],
    "workdays": ["2026-10-10"],
}
CAP: Final[dict[str, Any]] = {
    "channel": "wechat_mp",
    "category": "marketing",
    "count": 3,
    "per": "PT24H",
    "then": "skip",
}
_LONGEST: Final = 20_000
"""Characters of JSON: a longer object would not be read when a notification is sent."""
_DEEPEST: Final = 32

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Clock: TypeAlias = Annotated[
    str,
    StringConstraints(max_length=5, pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"),
    Field(examples=["22:00"]),
]
_Name = Annotated[Line, StringConstraints(min_length=1, max_length=64)]
_IsoDate = Annotated[
    str,
    StringConstraints(max_length=10, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
    Field(json_schema_extra={"format": "date"}),
]
_Switches = Annotated[dict[_Name, StrictBool], Field(max_length=100)]


class CategoryPreference(Strict):
    """Channels that are wanted or not for one category."""

    channels: _Switches


class QuietHoursBody(Strict):
    """Every day, or on the days named, from `start` to `end` by the user's clock; past midnight if `end` is earlier."""

    start: Clock
    end: Clock
    days: Annotated[list[Day], Field(min_length=1, max_length=7)] | None = None

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.start.replace("24:00", "00:00") == self.end.replace("24:00", "00:00"):
            message = "quiet hours end at another time than they start"
            raise ValueError(message)
        return self


class Preferences(BaseModel):
    """What somebody wants to hear outside the app, and when. Other fields are the product's own, kept as they are."""

    model_config = ConfigDict(
        extra="allow", frozen=True, protected_namespaces=(), json_schema_extra={"examples": [PREFERENCES]}
    )

    channels: _Switches | None = Field(None, description="`false` for a channel that is not wanted at all.")
    categories: Annotated[dict[_Name, StrictBool | CategoryPreference], Field(max_length=100)] | None = Field(
        None, description="`false` for a category that is not wanted outside the app, or channels for it."
    )
    quiet_hours: QuietHoursBody | Annotated[list[QuietHoursBody], Field(max_length=20)] | None = Field(
        None, description="When nothing should disturb; in the user's time zone."
    )
    mute: (
        Annotated[
            list[Annotated[Line, StringConstraints(max_length=210, pattern=r"^(thread|category|type):.")]],
            Field(max_length=500),
        ]
        | None
    ) = Field(None, description="`thread:…`, `category:…` or `type:…`: not told outside the app.")

    @model_validator(mode="wrap")
    @classmethod
    def _bounded(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if depth_of(value) > _DEEPEST:
            message = f"nested more than {_DEEPEST} levels deep"
            raise ValueError(message)
        made = handler(value)
        if len(msgspec.json.encode(made.kept())) > _LONGEST:
            message = f"at most {_LONGEST:,} bytes as JSON"
            raise ValueError(message)
        return made

    def kept(self) -> dict[str, Any]:
        """As it is stored: what was said, and nothing else."""
        return self.model_dump(mode="json", exclude_unset=True)


class CalendarBody(Strict):
    """Working hours: those of each weekday, days off, and days that are worked in their place (调休)."""

    timezone: TimeZone = "Asia/Shanghai"
    week: dict[
        Day, Annotated[list[Annotated[list[Clock], Field(min_length=2, max_length=2)]], Field(max_length=8)]
    ] = Field(
        default_factory=lambda: {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")},
        description="From when to when; a weekday that is not named is free.",
    )
    holidays: Annotated[list[_IsoDate], Field(max_length=1_000)] = Field(default_factory=list)
    workdays: Annotated[list[_IsoDate], Field(max_length=1_000)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self.value()
        return self

    def value(self) -> WorkCalendar:
        """The calendar. Raises ValueError with the place of the first fault."""
        return parse_calendar(self.model_dump(mode="json"))


class CapBody(Strict):
    """At most `count` sends to one person in each window of length `per`, whatever they are about."""

    channel: _Name | None = Field(None, description="Null: every channel outside the app, together.")
    category: _Name | None = Field(None, description="Null: every category, together.")
    count: Annotated[int, Field(ge=1, le=10_000, strict=True)]
    per: Duration
    then: CapThen = Field(CapThen.SKIP, description="What becomes of one too many.")


Caps = Annotated[list[CapBody], Field(max_length=50), AfterValidator(lambda caps: _readable(caps))]


def caps_value(caps: list[CapBody]) -> tuple[FrequencyCap, ...]:
    """The caps. Raises ValueError with the place of the first fault."""
    return parse_caps([cap.model_dump(mode="json") for cap in caps])


def _readable(caps: list[CapBody]) -> list[CapBody]:
    caps_value(caps)
    return caps
