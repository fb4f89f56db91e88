"""What providers say when they fail, and what people are told then: one list for every test of it.

The sentences stand here as people read them. `{P}` is the provider at the start of a sentence,
`{p}` within one.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a failure becomes. `short` is the sentence without advice, for notices of retries."""

    kind: str
    retryable: bool
    sentence: str
    short: str = ""

    def message(self, name: str = "") -> str:
        """Return the sentence about the provider of this name, or about an unknown one."""
        return _told(self.sentence, name)

    def notice(self, name: str = "") -> str:
        return _told(self.short or self.sentence, name)


def _told(sentence: str, name: str) -> str:
    if not name:
        sentence = sentence.replace("The {p} provider", "{P}")
    return sentence.replace("{P}", name or "The AI provider").replace(
        "{p}", name or "the AI provider"
    )


CANCELED = Outcome("generic", False, "The request was canceled before it completed.")
MISMATCH = Outcome(
    "generic",
    False,
    "The chat continuation failed due to an internal state mismatch."
    " This is not a configuration or billing issue.",
)
CLOSED = Outcome("timeout", True, "{P} stream closed unexpectedly before the response completed.")
OVERLOADED = Outcome("overloaded", True, "{P} is temporarily overloaded.")
QUOTA = Outcome(
    "usage_limit",
    False,
    "The usage quota for {p} has been exceeded."
    " Check the billing and quota settings for the provider account.",
    "The usage quota for {p} has been exceeded.",
)
AUTH = Outcome(
    "auth",
    False,
    "Authentication with {p} failed. Check the API key and permissions.",
    "Authentication with {p} failed.",
)
RATE = Outcome("rate_limit", True, "{P} is rate limiting requests.")
DISABLED = Outcome(
    "provider_disabled",
    False,
    "The {p} provider has been disabled. Contact your chatd administrator.",
    "The {p} provider has been disabled.",
)
UNAVAILABLE = Outcome("timeout", True, "{P} is temporarily unavailable.")
TIMED_OUT = Outcome("timeout", True, "The request timed out before it completed.")
CONFIG = Outcome(
    "config",
    False,
    "{P} rejected the model configuration. Check the selected model and provider settings.",
    "{P} rejected the model configuration.",
)
SERVER = Outcome("generic", True, "{P} returned an unexpected error.")
REFUSED = Outcome("generic", False, "{P} returned an unexpected error.")
FAILED = Outcome("generic", False, "The chat request failed unexpectedly.")
SILENT = Outcome("startup_timeout", True, "{P} did not start responding in time.")


@dataclass(frozen=True, slots=True)
class Case:
    """A failure: an HTTP status (0: an error inside a stream) and the provider's own words.

    `told` is a status that stands in the words.
    """

    status: int
    text: str
    outcome: Outcome
    told: int = 0

    @property
    def id(self) -> str:
        return f"{self.status or 'stream'} {self.text}".strip()


MISMATCH_DETAIL = "The provider did not accept the tool calls and results of this chat."
NO_OUTPUT = "No tool output found for function call call_1."
NO_REASONING = "Item 'fc_1' was provided without its required 'reasoning' item: 'rs_1'."
RESPONSE_GONE = "Previous response with id 'resp_1' not found."

# by row of the table of errors, in its order: the first row that fits counts
ROWS: dict[str, list[Case]] = {
    "interrupted": [
        # sentences of this row and the next two are for the provider that the words name
        Case(0, "chat interrupted", FAILED),
        Case(0, "Request Interrupted by the gateway", FAILED),
        Case(0, "operation interrupted", FAILED),
        Case(400, "request interrupted", REFUSED),
        Case(503, "chat interrupted", REFUSED),
        Case(401, "openai-compat: operation interrupted", CANCELED),
        Case(0, "openai-compat: request interrupted", CANCELED),
    ],
    "canceled by the transport": [
        Case(0, "context canceled", UNAVAILABLE),
        Case(500, "context canceled", SERVER),
        Case(400, "context canceled", REFUSED),
        Case(0, "context canceled: invalid model", CONFIG),
    ],
    "state mismatch": [
        Case(400, NO_OUTPUT, REFUSED),
        Case(0, NO_OUTPUT, FAILED),
        Case(400, NO_REASONING, REFUSED),
        Case(429, NO_OUTPUT, REFUSED),
        Case(400, f"openai-compat: {NO_OUTPUT}", MISMATCH),
        Case(400, f"openai-compat: {NO_REASONING}", MISMATCH),
    ],
    "closed early": [
        Case(0, "anthropic stream closed before message_stop", UNAVAILABLE),
        Case(0, "OpenAI Responses stream closed before terminal event", UNAVAILABLE),
        Case(0, "openai-compat: openai responses stream closed before terminal event", CLOSED),
        Case(401, "anthropic stream closed before message_stop", UNAVAILABLE),
    ],
    "response forgotten": [
        Case(400, RESPONSE_GONE, SERVER),
        Case(404, RESPONSE_GONE, SERVER),
        Case(0, RESPONSE_GONE, SERVER),
        Case(401, RESPONSE_GONE, SERVER),
        Case(400, "Previous response with id 'resp_1' is gone.", REFUSED),
    ],
    "overloaded": [
        Case(529, "", OVERLOADED),
        Case(503, "The model is overloaded.", OVERLOADED),
        Case(0, "Overloaded", OVERLOADED),
        Case(0, "error 529", OVERLOADED, told=529),
        Case(529, "quota", OVERLOADED),
        Case(401, "overloaded", OVERLOADED),
        Case(529, "invalid model", OVERLOADED),
    ],
    "quota": [
        Case(429, "You exceeded your current quota.", QUOTA),
        Case(400, "Billing hard limit has been reached.", QUOTA),
        Case(0, "insufficient_quota", QUOTA),
        Case(402, "", QUOTA),
        Case(400, "Payment required", QUOTA),
        Case(401, "billing is not active", QUOTA),
        Case(403, "quota of invalid model", QUOTA),
    ],
    "unauthorized": [
        Case(401, "", AUTH),
        Case(400, "Authentication is needed.", AUTH),
        Case(0, "Unauthorized", AUTH),
        Case(400, "Invalid API key", AUTH),
        Case(0, "invalid_api_key", AUTH),
        Case(401, "model not found", AUTH),
        Case(429, "unauthorized", AUTH),
    ],
    "forbidden": [
        Case(403, "", AUTH),
        Case(400, "Forbidden", AUTH),
        Case(403, "Model not found", CONFIG),
        Case(0, "forbidden: unsupported model", CONFIG),
        Case(429, "forbidden", AUTH),
    ],
    "rate limit": [
        Case(429, "", RATE),
        Case(400, "Rate limit reached", RATE),
        Case(0, "rate_limit_exceeded", RATE),
        Case(400, "rate-limit hit", RATE),
        Case(400, "RateLimit of the tier", RATE),
        Case(0, "Too many requests", RATE),
        Case(429, "maximum context length is 8192 tokens", CONFIG),
        Case(0, "too many requests for an invalid model", CONFIG),
        Case(429, "upstream timeout", RATE),
    ],
    "disabled": [
        Case(400, "provider_disabled", DISABLED),
        Case(503, "provider_disabled", DISABLED),
        Case(0, "provider_disabled: model not found", DISABLED),
        Case(403, "provider_disabled", AUTH),
    ],
    "unavailable": [
        Case(408, "", UNAVAILABLE),
        Case(502, "", UNAVAILABLE),
        Case(503, "", UNAVAILABLE),
        Case(504, "", UNAVAILABLE),
        Case(504, "deadline exceeded", UNAVAILABLE),
        Case(400, "Deadline exceeded", UNAVAILABLE),
        Case(0, "context deadline exceeded", TIMED_OUT),
        Case(400, "upstream timeout", UNAVAILABLE),
        Case(400, "upstream timed out", UNAVAILABLE),
        Case(0, "Service Unavailable", UNAVAILABLE),
        Case(0, "temporarily unavailable", UNAVAILABLE),
        Case(0, "read: connection reset by peer", UNAVAILABLE),
        Case(0, "dial tcp: connection refused", UNAVAILABLE),
        Case(0, "unexpected EOF", UNAVAILABLE),
        Case(0, "UNEXPECTED_EOF_WHILE_READING", UNAVAILABLE),
        Case(400, "write: broken pipe", UNAVAILABLE),
        Case(0, "Bad gateway", UNAVAILABLE),
        Case(0, "http2: client conn not usable", UNAVAILABLE),
        Case(0, "http2: server sent GOAWAY and closed the connection", UNAVAILABLE),
        Case(0, "http2: stream closed", UNAVAILABLE),
        Case(0, "use of closed network connection", UNAVAILABLE),
        Case(0, "stream error: stream ID 5; NO_ERROR; received from peer", UNAVAILABLE),
        Case(0, "stream error: stream ID 5; INTERNAL_ERROR; received from peer", UNAVAILABLE),
        Case(0, "stream error: stream ID 5; REFUSED_STREAM; received from peer", UNAVAILABLE),
        Case(0, "stream error: stream ID 5; CANCEL; received from peer", UNAVAILABLE),
        Case(0, "stream error: stream ID 5; ENHANCE_YOUR_CALM; received from peer", UNAVAILABLE),
        Case(0, "stream error: stream ID 503; PROTOCOL_ERROR; received from peer", FAILED),
        Case(0, "stream error: stream ID 5; FLOW_CONTROL_ERROR; received from peer", FAILED),
        Case(0, "stream error: stream ID 5; INTERNAL_ERROR", FAILED),
        Case(503, "invalid model", CONFIG),
        Case(0, "timeout while an unsupported model was loaded", CONFIG),
        Case(500, "timeout", UNAVAILABLE),
        Case(400, "the typeof this value is wrong", REFUSED),
    ],
    "configuration": [
        Case(400, "Invalid model", CONFIG),
        Case(404, "Model not found", CONFIG),
        Case(404, "model_not_found", CONFIG),
        Case(0, "unsupported model", CONFIG),
        Case(400, "context length exceeded", CONFIG),
        Case(400, "context_length_exceeded", CONFIG),
        Case(0, "context_exceeded", CONFIG),
        Case(400, "This model's maximum context length is 8192 tokens.", CONFIG),
        Case(400, "malformed config", CONFIG),
        Case(400, "Malformed configuration", CONFIG),
        Case(500, "invalid model", CONFIG),
    ],
    "server error": [
        Case(500, "", SERVER),
        Case(0, "The server had a server error.", SERVER),
        Case(0, "Internal Server Error", SERVER),
        Case(400, "server_error", SERVER),
    ],
    "anything else": [
        Case(400, "no idea", REFUSED),
        Case(404, "", REFUSED),
        Case(418, "", REFUSED),
        Case(451, "", REFUSED),
        Case(501, "", REFUSED),
        Case(0, "no idea", FAILED),
    ],
}
CASES = [(row, case) for row, cases in ROWS.items() for case in cases]


@dataclass(frozen=True, slots=True)
class StatusCase:
    """A text and the HTTP status that it speaks of; 0 for none."""

    text: str
    status: int


STATUSES_IN_TEXTS = [
    StatusCase("status 429", 429),
    StatusCase("upstream said Status Code 418 today", 418),
    StatusCase("status code: 503", 503),
    StatusCase("status=404", 404),
    StatusCase("got HTTP 404 from the edge", 404),
    *(StatusCase(f"error {code} from the edge", code) for code in (401, 403, 408, 429)),
    *(StatusCase(f"{code}", code) for code in (500, 502, 503, 504, 529)),
    StatusCase("(503)", 503),
    StatusCase("failed with 503.", 503),
    StatusCase("503: busy", 503),
    StatusCase("error 404 from the edge", 0),
    StatusCase("error 400 from the edge", 0),
    StatusCase("listening on :429", 0),
    StatusCase("localhost:503 went away", 0),
    StatusCase("stream ID 503 went away", 0),
    StatusCase("Stream id 429; PROTOCOL_ERROR", 0),
    StatusCase("took 5000 steps", 0),
    StatusCase("item_503x", 0),
    StatusCase("took 429.5 seconds", 0),
    StatusCase("took 0.503 seconds", 0),
    StatusCase("status 99", 0),
]
