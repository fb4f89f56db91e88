"""The JSON objects of costs as clients see them. Amounts are micros of a US dollar."""

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from chatd.core.shapes import Timestamp, Uuid
from chatd.spending.shapes import UsageLimitStatus


class CostTotals(TypedDict):
    """Sums over answers of models, deleted ones included; what was not told counts 0."""

    total_cost_micros: int
    total_input_tokens: Annotated[int, Meta(description="Without those read from a cache.")]
    total_output_tokens: int
    total_cache_read_tokens: int
    total_cache_creation_tokens: int
    total_runtime_ms: int


class ModelCosts(CostTotals):
    model_config_id: Uuid
    display_name: str
    provider: Annotated[str, Meta(description="The kind of provider.")]
    model: str
    message_count: Annotated[int, Meta(description="Messages with tokens.")]


class ChatCosts(CostTotals):
    """What a root chat and its sub-chats have cost."""

    root_chat_id: Uuid
    chat_title: Annotated[str, Meta(description="Empty once the chat is gone.")]
    message_count: Annotated[int, Meta(description="Messages with tokens.")]


class CostLimit(TypedDict):
    usage_limit: NotRequired[UsageLimitStatus]


class CostSummary(CostTotals, CostLimit):
    start_date: Timestamp
    end_date: Timestamp
    priced_message_count: int
    unpriced_message_count: Annotated[int, Meta(description="Those with tokens and no price.")]
    by_model: list[ModelCosts]
    by_chat: list[ChatCosts]


class PersonCosts(CostTotals):
    user_id: Uuid
    username: str
    name: str
    avatar_url: str
    message_count: Annotated[int, Meta(description="Messages with tokens.")]
    chat_count: Annotated[int, Meta(description="Root chats with an answer in the range.")]


class PeopleCosts(TypedDict):
    start_date: Timestamp
    end_date: Timestamp
    count: Annotated[int, Meta(description="All people that match, on whatever page.")]
    users: list[PersonCosts]
