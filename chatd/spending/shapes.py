"""The JSON objects of usage limits as clients see them. Amounts are micros of a US dollar."""

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from chatd.core.errors import Error
from chatd.core.shapes import Timestamp, Uuid, documented
from chatd.spending.periods import Period

_UNSET = "0001-01-01T00:00:00Z without a limit."


class UsageLimitExceeded(Error):  # noqa: N818 - a shape, not an exception
    """The refusal of what would cost money, when one's limit is used up."""

    spent_micros: int
    limit_micros: int
    resets_at: Annotated[Timestamp, Meta(description="The end of the running period.")]


class UsageLimit(TypedDict):
    """The limit of everybody who has no other."""

    spend_limit_micros: Annotated[int | None, Meta(description="null: nobody has a limit.")]
    period: Annotated[str, documented(enum=[*Period.values, ""])]
    updated_at: Annotated[Timestamp, Meta(description="0001-01-01T00:00:00Z for never.")]


class UsageLimitOverride(TypedDict):
    """The limit of a person."""

    user_id: Uuid
    username: str
    name: str
    avatar_url: str
    spend_limit_micros: int


class UsageLimitGroupOverride(TypedDict):
    """The limit of everybody in a group; it counts what they spend in its organisation."""

    group_id: Uuid
    group_name: str
    group_display_name: str
    group_avatar_url: str
    member_count: int
    spend_limit_micros: int


class UsageLimits(UsageLimit):
    """The limit, and the people and groups that have another one."""

    unpriced_model_count: Annotated[
        int, Meta(description="Enabled models without a price: what they are used for costs 0.")
    ]
    overrides: list[UsageLimitOverride]
    group_overrides: list[UsageLimitGroupOverride]


class UsageLimitStatus(TypedDict):
    """One's own limit and what one has spent of it."""

    is_limited: bool
    period: NotRequired[str]
    spend_limit_micros: NotRequired[int]
    current_spend: int
    period_start: Annotated[Timestamp, Meta(description=_UNSET)]
    period_end: Annotated[Timestamp, Meta(description=_UNSET)]
