"""Call configs: the JSON of a model's options, checked against `options` and brought into one form.

Types are checked as strictly as a Go client's, unknown keys are ignored, null is "not given".
Values are checked by `option_values`; what is stored already stays readable whatever it is.
Absent and empty mean the same, but an empty section or object stays: that it is there may count.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from chatd.llm.option_values import RefusedOptions, bounds_of, refused_values
from chatd.llm.options import PARAMETERS, PRICES, SECTIONS, Option, OptionType

_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MAX_EXPONENT_CHARS = len("e-9999")

_SCALARS: Mapping[OptionType, Any] = {
    OptionType.TEXT: str,
    OptionType.ENUM: str,
    OptionType.NUMBER: float,
    OptionType.INTEGER: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)],
    OptionType.BOOLEAN: bool,
}

_SECTION_NAMES = {
    "openai": "OpenAIOptions",
    "anthropic": "AnthropicOptions",
    "google": "GoogleOptions",
    "openaicompat": "OpenAICompatOptions",
    "openrouter": "OpenRouterOptions",
    "vercel": "VercelOptions",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConfig:
    """A checked call config: `options` in normal form, and apart from them the prices.

    `cost` maps keys of `options.PRICES` to what was given, negative or not.
    """

    options: Mapping[str, Any]
    cost: Mapping[str, Decimal]


def checked(request: "ModelCallConfigRequest") -> CallConfig:
    """Return the normal form of a decoded call config.

    Raises: RefusedOptions, and ValueError for what is no price.
    """
    config = _normal_form(request)
    if refused := refused_values(config.options):
        raise RefusedOptions(refused)
    return config


def _normal_form(request: Any) -> CallConfig:
    options = {option.key: getattr(request, option.key) for option in PARAMETERS}
    sections = msgspec.to_builtins(request.provider_options)
    if sections is not None:
        options["provider_options"] = _normal(sections, _SECTION_OPTIONS)
    return CallConfig(
        options={key: value for key, value in options.items() if value is not None},
        cost=_prices(request),
    )


def decode_call_config(text: str) -> CallConfig:
    """Return the normal form of a text, with whatever values its options have.

    Raises: msgspec.MsgspecError, ValueError.
    """
    return _normal_form(msgspec.json.decode(text, type=ModelCallConfigRequest))


def stored_options(stored: Any) -> Mapping[str, Any]:
    """Return options as they are stored in normal form; members of a wrong type are left out."""
    if not isinstance(stored, Mapping):
        return {}
    kept = {key: value for key, value in stored.items() if _is_sound(key, value)}
    return _normal_form(msgspec.convert(kept, ModelCallConfigRequest)).options


def _is_sound(key: str, value: Any) -> bool:
    if key == "cost" or key in _PRICE_KEYS:
        return False
    try:
        msgspec.convert({key: value}, ModelCallConfigRequest)
    except msgspec.ValidationError:
        return False
    return True


def _normal(given: Mapping[str, Any], options: Sequence[Option]) -> dict[str, Any]:
    """Return what is not empty, in the order of the schema."""
    normal: dict[str, Any] = {}
    for option in options:
        value = given.get(option.key)
        if value is not None and option.members:
            is_list = option.type is OptionType.LIST
            value = (
                [_normal(item, option.members) for item in value]
                if is_list
                else _normal(value, option.members)
            )
        if value is not None and not _is_unset(option, value):
            normal[option.key] = value
    return normal


def _is_unset(option: Option, value: Any) -> bool:
    if option.type is OptionType.OBJECT:
        return not option.members and not value
    if option.type is OptionType.ENUM:
        return not value.strip()
    return (option.type is OptionType.LIST or option.empty_is_unset) and not value


# Prices: members of `cost`, or at the top level as older clients send and older rows have them


def _prices(request: Any) -> dict[str, Decimal]:
    nested = {} if request.cost is None else _read_prices(request.cost, "cost.")
    return _read_prices(request) | nested


def _read_prices(given: Any, path: str = "") -> dict[str, Decimal]:
    read = {key: _read_price(getattr(given, key), f"{path}{key}") for key in _PRICE_KEYS}
    return {key: price for key, price in read.items() if price is not None}


def _read_price(raw: Raw, path: str) -> Decimal | None:
    text = bytes(raw).decode()
    if text == "null":
        return None
    value = msgspec.json.decode(text, type=str) if text.startswith('"') else text
    found = _DECIMAL.fullmatch(value)
    if found is None or len(found[2] or "") > _MAX_EXPONENT_CHARS:
        raise ValueError(f"Expected a decimal as text or number - at `$.{path}`")
    return Decimal(value)


# The schema as types that msgspec decodes into and documents


def _struct(name: str, options: Sequence[Option]) -> Any:
    """Return a struct with the options as members that may be absent or null."""
    fields = [
        (option.key, _member(option, f"{name}{_camel(option.key)}"), None) for option in options
    ]
    return msgspec.defstruct(name, fields, kw_only=True, module=__name__)


def _camel(key: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in key.split("_"))


def _member(option: Option, name: str) -> Any:
    known = f" One of {', '.join(option.values)}; others are refused." if option.values else ""
    known += f" Numbers {bounds}." if (bounds := bounds_of(option)) else ""
    extra = {"x-hidden": True} if option.hidden else {}
    about = Meta(
        title=option.label,
        description=f"{option.help}.{known}" if option.help else None,
        examples=list(option.values) or None,
        extra_json_schema=extra,
    )
    return Annotated[_type(option, name) | None, about]


def _type(option: Option, name: str) -> Any:
    item: Any = _SCALARS[option.items] if option.items else Any
    if option.members:
        item = _struct(name, option.members)
    match option.type:
        case OptionType.LIST:
            return GenericAlias(list, (item,))
        case OptionType.OBJECT:
            return item if option.members else GenericAlias(dict, (str, item))
        case _:
            return _SCALARS[option.type]


def _sections() -> Any:
    fields = [
        (key, _struct(_SECTION_NAMES[key], options) | None, None)
        for key, options in SECTIONS.items()
    ]
    return msgspec.defstruct("ModelProviderOptions", fields, kw_only=True, module=__name__)


def _top(name: str, cost: Any, more: Sequence[Any]) -> Any:
    """Return the struct of a whole call config with a struct of prices."""
    fields = [
        *((option.key, _member(option, name), None) for option in PARAMETERS),
        ("cost", cost | None, None),
        ("provider_options", _PROVIDER_OPTIONS | None, None),
        *more,
    ]
    return msgspec.defstruct(name, fields, kw_only=True, module=__name__)


def _price_field(option: Option, *, answered: bool = False, older: bool = False) -> Any:
    """Return the member of a price. What is given is kept as its digits: a float would not."""
    text = {"type": "string"} if answered else {"type": ["string", "number", "null"]}
    schema = {**text, "pattern": f"^({_DECIMAL.pattern})$"}
    help_ = f"{option.help}; `cost` goes before it." if older else f"{option.help}."
    about = Meta(
        title=option.label,
        description=help_,
        extra_json_schema={**schema, **({"deprecated": True} if older else {})},
    )
    return (option.key, Annotated[Raw, about], msgspec.field(default_factory=_null))


def _null() -> Raw:
    return Raw(b"null")


_PRICE_KEYS = tuple(option.key for option in PRICES)
_SECTION_OPTIONS = tuple(
    Option(key, OptionType.OBJECT, members=members) for key, members in SECTIONS.items()
)
_PROVIDER_OPTIONS = _sections()

if TYPE_CHECKING:

    class ModelCallConfigRequest(Struct):
        """What a client sends as `model_config`."""

    ModelCallConfig: TypeAlias = Mapping[str, Any]
    ModelCost: TypeAlias = Mapping[str, str]
else:
    ModelCallConfigRequest = _top(
        "ModelCallConfigRequest",
        msgspec.defstruct("ModelCostRequest", [_price_field(option) for option in PRICES]),
        [_price_field(option, older=True) for option in PRICES],
    )
    ModelCost = msgspec.defstruct(
        "ModelCost", [_price_field(option, answered=True) for option in PRICES]
    )
    ModelCallConfig = _top("ModelCallConfig", ModelCost, [])
