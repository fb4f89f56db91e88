"""What people type into the pages, decoded."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest

from chatd.chats.content import InputPart
from chatd.core.errors import ChatdError, bad_request

_MAX_EMAIL = 254


class SignInForm(AuthenticationForm):
    """Sign-in by user name or e-mail."""

    error_messages = {
        "invalid_login": (
            "The name and the password do not belong together. Check both;"
            " capital letters count in the password."
        ),
        "inactive": "This account is switched off. Ask an administrator.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)
        name = self.fields["username"]
        name.label = "User name or e-mail"
        # The base class limits the field to the length of a user name; e-mails are longer.
        name.widget.attrs["maxlength"] = _MAX_EMAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedMessage:
    content: list[InputPart]
    model_config_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Titling:
    """The open form of a title: what is in the box, and what is said about it."""

    text: str
    hint: str = ""
    refusal: ChatdError | None = None


def posted_message(request: HttpRequest) -> PostedMessage:
    """Return the message of a composer form. Raises ChatdError 400."""
    text = posted_text(request)
    if not text.strip():
        raise bad_request("Write a message first.")
    return PostedMessage(
        content=[InputPart(type="text", text=text)],
        model_config_id=_model_id(request.POST.get("model", "")),
    )


def posted_text(request: HttpRequest) -> str:
    """Return the text with the line ends it was typed with; forms send CRLF."""
    return request.POST.get("text", "").replace("\r\n", "\n")


def _model_id(raw: str) -> UUID | None:
    try:
        return UUID(raw) if raw else None
    except ValueError:
        raise bad_request("Pick one of the models in the list.") from None
