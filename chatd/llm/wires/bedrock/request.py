"""Requests to Bedrock: the Anthropic Messages body, with the version where the model would be."""

import orjson

from chatd.llm.types import Provider, Request
from chatd.llm.wires.anthropic.request import message_body

VERSION = "bedrock-2023-05-31"


def encode(request: Request, provider: Provider, *, is_stream: bool = True) -> bytes:
    """Return the JSON body of a call; model and stream stand in the address.

    Raises: LLMError, TypeError, as on the Anthropic Messages wire.
    """
    body = message_body(request, provider, is_bedrock=True)
    return orjson.dumps({"anthropic_version": VERSION, **body})
