"""Open steps: model calls that are done, whose tools are not."""

from django.db import models

from chatd.core.clock import now
from chatd.core.fields import JSONTextField


class OpenStep(models.Model):
    """The one step of a chat whose tools are being carried out, or are in doubt.

    `message` is the assistant message (an `UnstoredMessage`), null once it stands in the history.
    `calls` is a list of `OpenCall`. `runner_id` is the runner that carries the tools out, null
    when none does; what another one wants to record is refused.
    """

    chat = models.OneToOneField(
        "chats.Chat", on_delete=models.CASCADE, primary_key=True, related_name="open_step"
    )
    runner_id = models.UUIDField(null=True, blank=True)
    message = JSONTextField(null=True, blank=True)
    calls = JSONTextField(default=list)
    created_at = models.DateTimeField(default=now)

    def __str__(self) -> str:
        return f"open step of {self.chat_id}"
