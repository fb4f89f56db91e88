"""Images that a model made, as gateways send them on the chat/completions wire."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Any

from chatd.llm.types import GeneratedFile
from chatd.llm.wires.decoding import is_object

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,")


def generated_files(images: Iterable[Any]) -> Iterator[GeneratedFile]:
    """Yield the images of a delta that come with their bytes; others cannot be kept."""
    for image in images:
        holder = image.get("image_url") if is_object(image) else None
        url = holder.get("url") if is_object(holder) else None
        if not isinstance(url, str) or not (head := _DATA_URL.match(url)):
            continue
        try:
            data = base64.b64decode(url[head.end() :], validate=True)
        except (binascii.Error, ValueError):
            continue
        if data:
            yield GeneratedFile(media_type=head[1].lower(), data=data)
