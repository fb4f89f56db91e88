"""The options of a model as data: what can be set, of which type, for which kinds of provider.

Belongs here: keys, types, words for people, known values. Does not belong here: checking values
(`call_config`, `option_values`), how a wire sends them. `least` and `most` are bounds that hold for
every provider that takes the option.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum

from chatd.llm.providers import PROVIDERS


class OptionType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    PRICE = "price"
    """An exact decimal that is not negative: written as text, taken as text or number."""
    BOOLEAN = "boolean"
    ENUM = "enum"
    """One of the known `values`, in any case."""
    LIST = "list"
    OBJECT = "object"


ALL_KINDS = tuple(kind.name for kind in PROVIDERS)


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    `values` are those of an enumeration, or of a list of texts that holds nothing else. `members`
    are those of an object or of the objects of a list. `items` is the type of what a
    list without members holds, or a map; None is any JSON. `empty_is_unset`: an empty text is
    not kept. Rare options are `hidden` from forms. `kinds` are the kinds of provider that take a
    call parameter; options of a section are taken by the kinds of the section.
    """

    key: str
    type: OptionType
    help: str = ""
    _: KW_ONLY
    given_label: str = ""
    values: tuple[str, ...] = ()
    hidden: bool = False
    least: float | None = None
    most: float | None = None
    items: OptionType | None = None
    members: tuple["Option", ...] = ()
    empty_is_unset: bool = False
    kinds: tuple[str, ...] = ALL_KINDS

    @property
    def label(self) -> str:
        return self.given_label or self.key.replace("_", " ").capitalize()


_TEXT, _NUMBER, _INTEGER = OptionType.TEXT, OptionType.NUMBER, OptionType.INTEGER
_BOOLEAN, _ENUM = OptionType.BOOLEAN, OptionType.ENUM
_LIST, _OBJECT = OptionType.LIST, OptionType.OBJECT

_CHAT_KINDS = tuple(k for k in ALL_KINDS if k not in ("anthropic", "bedrock"))
_TOP_K_KINDS = ("anthropic", "bedrock", "google")

PARAMETERS: tuple[Option, ...] = (
    Option("max_output_tokens", _INTEGER, "Upper bound on tokens the model may generate", least=1),
    Option("temperature", _NUMBER, "Sampling temperature between 0 and 2", least=0, most=2),
    Option("top_p", _NUMBER, "Nucleus sampling probability cutoff", least=0, most=1),
    Option(
        "top_k",
        _INTEGER,
        "Number of highest-probability tokens to keep for sampling",
        least=0,
        kinds=_TOP_K_KINDS,
    ),
    Option(
        "presence_penalty",
        _NUMBER,
        "Penalty for tokens that have already appeared in the output",
        least=-2,
        most=2,
        kinds=_CHAT_KINDS,
    ),
    Option(
        "frequency_penalty",
        _NUMBER,
        "Penalty for tokens based on their frequency in the output",
        least=-2,
        most=2,
        kinds=_CHAT_KINDS,
    ),
)
"""Parameters of every call."""

PRICES: tuple[Option, ...] = (
    Option(
        "input_price_per_million_tokens",
        OptionType.PRICE,
        "Input token price in USD per 1M tokens",
        least=0,
    ),
    Option(
        "output_price_per_million_tokens",
        OptionType.PRICE,
        "Output token price in USD per 1M tokens",
        least=0,
    ),
    Option(
        "cache_read_price_per_million_tokens",
        OptionType.PRICE,
        "Cache read token price in USD per 1M tokens",
        least=0,
    ),
    Option(
        "cache_write_price_per_million_tokens",
        OptionType.PRICE,
        "Cache write or cache creation token price in USD per 1M tokens",
        least=0,
    ),
)
"""What `cost` holds."""

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
_EFFORT_HELP = "Controls the level of reasoning effort"
_SIZES = ("low", "medium", "high")
_BIAS_HELP = "Token IDs mapped to bias values from -100 to 100"
_LOG_PROBS_HELP = "Whether to return log probabilities of output tokens"
_TOP_LOG_PROBS_HELP = "Number of most likely tokens to return log probabilities for"
_THINKING_HELP = "Configuration for extended thinking"
_THINKING_BUDGET_HELP = "Maximum number of tokens the model may use for thinking"

_USER = Option(
    "user", _TEXT, "Unique identifier for the end user for abuse monitoring", hidden=True
)
_LOGIT_BIAS = Option(
    "logit_bias", _OBJECT, _BIAS_HELP, items=_INTEGER, least=-100, most=100, hidden=True
)
_PARALLEL_TOOL_CALLS = Option(
    "parallel_tool_calls",
    _BOOLEAN,
    "Whether the model may make multiple tool calls in parallel",
)
_EXTRA_BODY = Option(
    "extra_body", _OBJECT, "Additional fields to include in the request body", hidden=True
)
_PROVIDER_ORDER = Option("order", _LIST, "Ordered list of preferred provider names", items=_TEXT)

_OPENAI = (
    Option(
        "include",
        _LIST,
        "Model names to include in discovery",
        values=(
            "reasoning.encrypted_content",
            "file_search_call.results",
            "message.output_text.logprobs",
        ),
        items=_TEXT,
        hidden=True,
    ),
    Option(
        "instructions",
        _TEXT,
        "System-level instructions prepended to the conversation",
        hidden=True,
    ),
    _LOGIT_BIAS,
    Option("log_probs", _BOOLEAN, _LOG_PROBS_HELP, hidden=True),
    Option("top_log_probs", _INTEGER, _TOP_LOG_PROBS_HELP, least=0, most=20, hidden=True),
    Option("max_tool_calls", _INTEGER, "Maximum number of tool calls per response"),
    _PARALLEL_TOOL_CALLS,
    _USER,
    Option("reasoning_effort", _ENUM, _EFFORT_HELP, values=_EFFORTS),
    Option(
        "reasoning_summary",
        _ENUM,
        "Controls whether reasoning tokens are summarized in the response",
        values=("auto", "concise", "detailed"),
    ),
    Option(
        "max_completion_tokens",
        _INTEGER,
        "Upper bound on tokens the model may generate",
        least=1,
    ),
    Option("text_verbosity", _ENUM, "Controls the verbosity of the text response", values=_SIZES),
    Option("prediction", _OBJECT, "Predicted output content to speed up responses", hidden=True),
    Option(
        "store",
        _BOOLEAN,
        "Whether to store the response on OpenAI for later retrieval via the API and dashboard"
        " logs",
    ),
    Option("metadata", _OBJECT, "Arbitrary metadata to attach to the request", hidden=True),
    Option("prompt_cache_key", _TEXT, "Key for enabling cross-request prompt caching"),
    Option(
        "safety_identifier",
        _TEXT,
        "Developer-specific safety identifier for the request",
        hidden=True,
    ),
    Option(
        "service_tier",
        _ENUM,
        "Latency tier to use for processing the request",
        values=("auto", "default", "flex", "scale", "priority"),
    ),
    Option(
        "structured_outputs",
        _BOOLEAN,
        "Whether to enable structured JSON output mode",
        hidden=True,
    ),
    Option(
        "strict_json_schema",
        _BOOLEAN,
        "Whether to enforce strict adherence to the JSON schema",
        hidden=True,
    ),
    Option(
        "web_search_enabled",
        _BOOLEAN,
        "Enable OpenAI web search tool for grounding responses with real-time information",
    ),
    Option("search_context_size", _ENUM, "Amount of search context to use", values=_SIZES),
    Option(
        "allowed_domains",
        _LIST,
        "Restrict web search to these domains",
        items=_TEXT,
        given_label="Web Search: Allowed Domains",
    ),
)

_ANTHROPIC = (
    Option("send_reasoning", _BOOLEAN, "Whether to include reasoning content in the response"),
    Option(
        "thinking",
        _OBJECT,
        _THINKING_HELP,
        members=(Option("budget_tokens", _INTEGER, _THINKING_BUDGET_HELP, least=1024),),
    ),
    Option(
        "effort",
        _ENUM,
        _EFFORT_HELP,
        values=("low", "medium", "high", "xhigh", "max"),
        given_label="Reasoning Effort",
    ),
    Option("disable_parallel_tool_use", _BOOLEAN, "Whether to disable parallel tool execution"),
    Option(
        "web_search_enabled",
        _BOOLEAN,
        "Enable Anthropic web search tool for grounding responses with real-time information",
    ),
    Option(
        "allowed_domains",
        _LIST,
        "Restrict web search to these domains (cannot be used with blocked_domains)",
        items=_TEXT,
        given_label="Web Search: Allowed Domains",
    ),
    Option(
        "blocked_domains",
        _LIST,
        "Block web search on these domains (cannot be used with allowed_domains)",
        items=_TEXT,
        given_label="Web Search: Blocked Domains",
    ),
)

HARM_CATEGORIES = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY",
)
HARM_THRESHOLDS = (
    "BLOCK_LOW_AND_ABOVE",
    "BLOCK_MEDIUM_AND_ABOVE",
    "BLOCK_ONLY_HIGH",
    "BLOCK_NONE",
    "OFF",
)
_GOOGLE = (
    Option(
        "thinking_config",
        _OBJECT,
        _THINKING_HELP,
        members=(
            Option("thinking_budget", _INTEGER, _THINKING_BUDGET_HELP),
            Option(
                "include_thoughts",
                _BOOLEAN,
                "Whether to include thinking content in the response",
            ),
        ),
    ),
    Option(
        "cached_content",
        _TEXT,
        "Resource name of a cached content object",
        hidden=True,
        empty_is_unset=True,
    ),
    Option(
        "safety_settings",
        _LIST,
        "Safety filtering settings for harmful content categories",
        hidden=True,
        members=(
            Option(
                "category",
                _ENUM,
                "The harm category to configure",
                values=HARM_CATEGORIES,
                empty_is_unset=True,
            ),
            Option(
                "threshold",
                _ENUM,
                "The blocking threshold for the harm category",
                values=HARM_THRESHOLDS,
                empty_is_unset=True,
            ),
        ),
    ),
    Option("threshold", _ENUM, values=HARM_THRESHOLDS, hidden=True, empty_is_unset=True),
    Option(
        "web_search_enabled",
        _BOOLEAN,
        "Enable Google Search grounding for real-time information",
    ),
)

_OPENAI_COMPAT = (
    _USER,
    Option("reasoning_effort", _ENUM, _EFFORT_HELP, values=_EFFORTS),
)

_REASONING = Option(
    "reasoning",
    _OBJECT,
    "Configuration for reasoning behavior",
    members=(
        Option("enabled", _BOOLEAN, "Whether reasoning is enabled"),
        Option("exclude", _BOOLEAN, "Whether to exclude reasoning content from the response"),
        Option("max_tokens", _INTEGER, "Maximum number of tokens for reasoning output"),
        Option("effort", _ENUM, _EFFORT_HELP, values=_EFFORTS),
    ),
)

_OPENROUTER = (
    _REASONING,
    _EXTRA_BODY,
    Option(
        "include_usage",
        _BOOLEAN,
        "Whether to include token usage information in the response",
        hidden=True,
    ),
    _LOGIT_BIAS,
    Option("log_probs", _BOOLEAN, _LOG_PROBS_HELP, hidden=True),
    _PARALLEL_TOOL_CALLS,
    _USER,
    Option(
        "provider",
        _OBJECT,
        "Routing preferences for provider selection",
        hidden=True,
        members=(
            _PROVIDER_ORDER,
            Option("allow_fallbacks", _BOOLEAN, "Whether to allow fallback to other providers"),
            Option(
                "require_parameters",
                _BOOLEAN,
                "Whether to require all parameters to be supported by the provider",
            ),
            Option("data_collection", _TEXT, "Data collection policy preference"),
            Option("only", _LIST, "Restrict to only these provider names", items=_TEXT),
            Option("ignore", _LIST, "Provider names to exclude from routing", items=_TEXT),
            Option("quantizations", _LIST, "Allowed model quantization levels", items=_TEXT),
            Option("sort", _TEXT, "Sort order for provider selection"),
        ),
    ),
)

_VERCEL = (
    _REASONING,
    Option(
        "providerOptions",
        _OBJECT,
        "Gateway routing options for provider selection",
        hidden=True,
        given_label="Provider options",
        members=(
            _PROVIDER_ORDER,
            Option("models", _LIST, "Model identifiers to route across", items=_TEXT),
        ),
    ),
    _USER,
    _LOGIT_BIAS,
    Option("logprobs", _BOOLEAN, _LOG_PROBS_HELP, hidden=True),
    Option("top_logprobs", _INTEGER, _TOP_LOG_PROBS_HELP, least=0, most=20, hidden=True),
    _PARALLEL_TOOL_CALLS,
    _EXTRA_BODY,
)

SECTIONS: Mapping[str, tuple[Option, ...]] = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "google": _GOOGLE,
    "openaicompat": _OPENAI_COMPAT,
    "openrouter": _OPENROUTER,
    "vercel": _VERCEL,
}
"""What `provider_options` holds, by section."""


def kinds_of(section: str) -> tuple[str, ...]:
    """Return the kinds of provider that a section is for."""
    return tuple(kind.name for kind in PROVIDERS if kind.options_key == section)
