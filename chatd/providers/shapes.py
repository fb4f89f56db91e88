"""The JSON objects of providers and models as clients see them."""

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta


class CatalogModel(TypedDict):
    """A model that can be chosen."""

    id: Annotated[str, Meta(description="`<provider>:<model>`.")]
    provider: str
    model: str
    display_name: str


class CatalogProvider(TypedDict):
    """The enabled providers of one kind, and whether the caller can use one of them."""

    provider: str
    available: bool
    models: list[CatalogModel]
    unavailable_reason: NotRequired[
        Annotated[str, Meta(description="missing_api_key, fetch_failed or user_api_key_required")]
    ]


class Catalog(TypedDict):
    providers: list[CatalogProvider]
