"""Model configs: the models that chats can use, and what a model is known to cost."""

import re
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
import orjson
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation, text
from chatd.api.parsing import BAD_JSON, Int32, Int64, check_nesting, decode_body, parse_uuid
from chatd.api.views import ResourceViewSet
from chatd.core.clock import now, rfc3339
from chatd.core.errors import ChatdError, Validation, bad_request
from chatd.core.shapes import documented, shaped
from chatd.llm.call_config import CallConfig, ModelCallConfigRequest, checked
from chatd.llm.option_values import RefusedOptions
from chatd.providers import shapes
from chatd.providers.model_configs import (
    ModelConfigFields,
    call_config_body,
    check_may_configure,
    create_model_config,
    list_model_configs_for,
    remove_model_config,
    update_model_config,
)
from chatd.providers.models import ModelConfig
from chatd.providers.price_catalogue import suggest_prices
from chatd.providers.prices import price_at, prices_at
from chatd.providers.pricing import Prices


class UpdateModelConfigRequest(Struct, kw_only=True):
    """Body of `PATCH /chats/model-configs/{config}`; absent and blank are "no change"."""

    ai_provider_id: UUID | None = None
    provider: Annotated[
        str | None, Meta(description="The kind; needs `ai_provider_id` unless it stays.")
    ] = None
    model: str | None = None
    display_name: str | None = None
    enabled: bool | None = None
    is_default: bool | None = None
    context_limit: Annotated[Int64 | None, documented(minimum=1)] = None
    compression_threshold: Annotated[Int32 | None, documented(minimum=0, maximum=100)] = None
    model_config: Annotated[
        ModelCallConfigRequest | None, Meta(description="Replaces all options and prices.")
    ] = None

    def checked(self) -> ModelConfigFields:
        return ModelConfigFields(
            ai_provider_id=self.ai_provider_id,
            provider=self.provider or "",
            model=self.model or "",
            display_name=self.display_name or "",
            enabled=self.enabled,
            is_default=self.is_default,
            context_limit=self.context_limit,
            compression_threshold=self.compression_threshold,
            call_config=None if self.model_config is None else _call_config(self.model_config),
        )


class CreateModelConfigRequest(UpdateModelConfigRequest, kw_only=True):
    """Body of `POST /chats/model-configs`."""

    provider: Annotated[
        str | None,
        Meta(description="The kind, in place of `ai_provider_id` where only one is of it."),
    ] = None
    model: Annotated[str | None, documented(required=True, minLength=1)] = None
    context_limit: Annotated[Int64 | None, documented(required=True, minimum=1)] = None


_OPTIONS = "model_config"
_WRONG_TYPE = re.compile(rf"`\$\.({_OPTIONS}\.[^`]+)`$")

T = TypeVar("T")


def _call_config(given: ModelCallConfigRequest) -> CallConfig:
    """Return what can be stored and shown again. Raises ChatdError 400."""
    try:
        config = checked(given)
        check_nesting(config.options)
        orjson.dumps(config.options)  # no client reads a number of more than 64 bits
    except RefusedOptions as error:
        raise _refusal(error) from None
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise bad_request(BAD_JSON, detail=str(error)) from None
    return config


def _refusal(error: RefusedOptions) -> ChatdError:
    named = [
        Validation(f"{_OPTIONS}.{each.path}", f"{_OPTIONS}.{each.sentence}", f"{each.advice}.")
        for each in error.refused
    ]
    return bad_request("Invalid model config.", detail=named[0].detail, validations=named)


def _decoded(request: Request, shape: type[T]) -> T:
    """Return the body; an option of a wrong type is named by its field.

    Raises: ChatdError 400.
    """
    try:
        return decode_body(request, shape)
    except ChatdError as refusal:
        if found := _WRONG_TYPE.search(refusal.detail):
            refusal.validations = (Validation(found[1], refusal.detail),)
        raise


def config_body(config: ModelConfig, prices: Prices) -> shapes.ModelConfig:
    """Return the ModelConfig object with the prices that hold now."""
    body: shapes.ModelConfig = {
        "id": str(config.pk),
        "provider": config.provider,
        "ai_provider_id": str(config.ai_provider_id),
        "model": config.model,
        "display_name": config.display_name,
        "enabled": config.enabled,
        "is_default": config.is_default,
        "context_limit": config.context_limit,
        "compression_threshold": config.compression_threshold,
        "model_config": call_config_body(config, prices),
        "created_at": rfc3339(config.created_at),
        "updated_at": rfc3339(config.updated_at),
    }
    return shaped(shapes.ModelConfig, body)


class ModelConfigViewSet(ResourceViewSet):
    """`/chats/model-configs`."""

    @Operation(
        "listModelConfigs",
        "List the models that can be used; administrators see all",
        answer=list[shapes.ModelConfig],
    )
    def list(self, request: Request) -> Response:
        configs = list_model_configs_for(self.actor(request).user)
        prices = prices_at([config.pk for config in configs], now())
        return Response([config_body(each, prices.get(each.pk, Prices())) for each in configs])

    @Operation(
        "createModelConfig",
        "Add a model; the first one becomes the default",
        answer=shapes.ModelConfig,
        status=201,
        body=CreateModelConfigRequest,
        refusals=[403, 412],
    )
    def create(self, request: Request) -> Response:
        config = create_model_config(
            self.actor(request), lambda: _decoded(request, CreateModelConfigRequest).checked()
        )
        return Response(config_body(config, price_at(config.pk, now())), status=201)

    @Operation(
        "updateModelConfig",
        "Change a model; one is always the default",
        answer=shapes.ModelConfig,
        body=UpdateModelConfigRequest,
        refusals=[403, 412],
    )
    def partial_update(self, request: Request, config: str) -> Response:
        actor = self.actor(request)
        check_may_configure(actor.user)
        changed = update_model_config(
            actor,
            _config_id(config),
            lambda: _decoded(request, UpdateModelConfigRequest).checked(),
        )
        return Response(config_body(changed, price_at(changed.pk, now())))

    @Operation(
        "deleteModelConfig",
        "Delete a model; chats that used it go on with the default",
        status=204,
        refusals=[403],
    )
    def destroy(self, request: Request, config: str) -> Response:
        actor = self.actor(request)
        check_may_configure(actor.user)
        remove_model_config(actor, _config_id(config))
        return Response(status=204)


class SuggestedPricesViewSet(ResourceViewSet):
    """`/chats/model-configs/suggested-prices`."""

    @Operation(
        "getSuggestedPrices",
        "Get what a model is known to cost, for those who enter prices",
        answer=shapes.SuggestedPrices,
        parameters=[
            text("provider", "The kind of provider.", required=True, minLength=1),
            text("model", "The model's id at the provider.", required=True, minLength=1),
        ],
        refusals=[403],
    )
    def retrieve(self, request: Request) -> Response:
        check_may_configure(self.actor(request).user)
        provider, model = (_required(request, name) for name in ("provider", "model"))
        found = suggest_prices(provider.lower(), model)
        body: shapes.SuggestedPrices = {
            "provider": provider,
            "model": model,
            "known_as": found.model if found else "",
            "cost": found.prices.texts() if found else {},
            "context_limit": (found.context_limit if found else None) or 0,
        }
        return Response(shaped(shapes.SuggestedPrices, body))


def _required(request: Request, name: str) -> str:
    value: str = request.GET.get(name, "").strip()
    if not value:
        raise bad_request(
            "Query parameters have invalid values.",
            validations=[Validation(name, f'Query param "{name}" is required.')],
        )
    return value


def _config_id(raw: str) -> UUID:
    return parse_uuid(raw, "Invalid chat model config ID.")
