"""Images that are too large for a provider are refused before it is asked."""

from typing import Any

import pytest

from chatd.chattest import faults
from chatd.chattest.openai import OpenAIServer
from chatd.llm.client import stream
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.image_sizes import check_image_sizes
from chatd.llm.providers import MEBIBYTE, PROVIDERS
from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    Message,
    Provider,
    Request,
    SystemMessage,
    TextBlock,
    ToolMessage,
    ToolResultBlock,
    UserMessage,
)

LIMIT = 5 * MEBIBYTE
HI = UserMessage(blocks=(TextBlock(text="Hi"),))


def image(size: int, media_type: str = "image/png") -> FileBlock:
    return FileBlock(media_type=media_type, data=bytes(size))


def attached(file: FileBlock) -> UserMessage:
    return UserMessage(blocks=(TextBlock(text="See"), file))


def made(file: FileBlock) -> AssistantMessage:
    return AssistantMessage(blocks=(file,))


def shown(file: FileBlock) -> ToolMessage:
    result = ToolResultBlock(call_id="a", name="look", output="", media=file)
    return ToolMessage(results=(result,))


def check(kind: str, *messages: Message) -> None:
    request = Request(model="m", messages=(SystemMessage(text="Be kind."), *messages))
    provider = Provider(kind=kind, base_url="http://x", display_name="Ours")
    check_image_sizes(request, provider)


@pytest.mark.parametrize(("kind", "name"), [("anthropic", "Anthropic"), ("bedrock", "AWS Bedrock")])
@pytest.mark.parametrize("place", [attached, made, shown])
def test_a_large_image_anywhere_in_the_history_is_refused(kind: str, name: str, place: Any) -> None:
    with pytest.raises(LLMError) as refused:
        check(kind, HI, place(image(LIMIT)), HI, attached(image(1)))
    error = refused.value
    assert (error.kind, error.retryable, error.provider) == (ErrorKind.CONFIG, False, kind)
    assert error.message == (
        f"Image attachment exceeds {name}'s 5.0 MiB inline image limit."
        " Replace it with a smaller image."
    )


@pytest.mark.parametrize("kind", [each.name for each in PROVIDERS])
def test_smaller_images_and_other_files_pass_everywhere(kind: str) -> None:
    documents = image(LIMIT + 1, "application/pdf")
    check(kind, *[attached(image(LIMIT - 1))] * 3, attached(documents))


def test_only_those_kinds_have_a_limit() -> None:
    limited = {each.name for each in PROVIDERS if each.max_image_bytes is not None}
    assert limited == {"anthropic", "bedrock"}
    for kind in {each.name for each in PROVIDERS} - limited | {"of a later version"}:
        check(kind, attached(image(LIMIT)))


@pytest.mark.parametrize("kind", ["anthropic", "bedrock"])
async def test_nobody_is_asked(kind: str) -> None:
    request = Request(model="m", messages=(attached(image(LIMIT, "IMAGE/PNG")),))
    async with OpenAIServer(faults.hang()) as server:
        with pytest.raises(LLMError, match="inline image limit"):
            async for _ in stream(request, Provider(kind=kind, base_url=server.base_url)):
                pass
        assert server.requests == []
