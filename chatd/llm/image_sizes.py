"""Images that a provider would refuse for their size are refused before a request (engine 8.5)."""

from collections.abc import Iterator

from chatd.llm import providers
from chatd.llm.errors import ErrorKind, error_of
from chatd.llm.providers import MEBIBYTE
from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    Message,
    Provider,
    Request,
    ToolMessage,
    ToolResultBlock,
    UserMessage,
)


def check_image_sizes(request: Request, provider: Provider) -> None:
    """Refuse a request with an image, anywhere in it, that is too large for the provider.

    Raises: LLMError of kind config.
    """
    kind = providers.find_kind(provider.kind)
    if kind is None or kind.max_image_bytes is None:
        return
    largest = max((len(file.data) for file in _images(request)), default=0)
    if largest >= kind.max_image_bytes:
        limit = f"{kind.max_image_bytes / MEBIBYTE:.1f} MiB"
        message = (
            f"Image attachment exceeds {kind.display_name}'s {limit} inline image limit."
            " Replace it with a smaller image."
        )
        raise error_of(ErrorKind.CONFIG, provider, message=message)


def _images(request: Request) -> Iterator[FileBlock]:
    for message in request.messages:
        for block in _blocks(message):
            file = block.media if isinstance(block, ToolResultBlock) else block
            if isinstance(file, FileBlock) and file.media_type.lower().startswith("image/"):
                yield file


def _blocks(message: Message) -> tuple[object, ...]:
    match message:
        case UserMessage() | AssistantMessage():
            return message.blocks
        case ToolMessage():
            return message.results
        case _:
            return ()
