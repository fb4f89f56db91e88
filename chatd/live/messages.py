"""What travels through the live layer: notifications, part entries and watch events.

A notification is a hint. It names the versions a transition reached, so that a receiver can tell
a duplicate or a gap, and carries only small things inline; messages and the queue are read from
the database.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

CHAT_STREAM_CHANNEL = "chat:stream:{chat_id}"
OWNER_CHANNEL = "chat:owner:{user_id}"
CONFIG_CHANNEL = "chat:config_change"
CONTROL_CHANNEL = "chat:control"


class Notification(Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One transition of a chat, as published on its stream channel.

    `after_message_id`: read messages above this id. `first_status`: a status that was passed
    through before `status` in the same transition. `full_refresh`: history was cut, send it
    whole. The versions are those after the transition.
    """

    after_message_id: int = 0
    first_status: str = ""
    status: str = ""
    worker_id: str = ""
    error: str = ""
    queue_update: bool = False
    retry: Any = None
    error_payload: Any = None
    full_refresh: bool = False
    action_required: bool = False
    snapshot_version: int = 0
    history_version: int = 0
    queue_version: int = 0
    attempt: int = 0


class Episode(Struct, frozen=True, array_like=True):
    """One generation attempt on one history; its parts are numbered from 1."""

    history_version: int
    attempt: int

    @property
    def key(self) -> str:
        return f"{self.history_version}.{self.attempt}"


class StreamedPart(Struct, kw_only=True, frozen=True):
    """A part as clients see it, with the role of the message it will belong to.

    `is_last`: the block ends with it, and `metadata` is what its provider wants back with it.
    `began_at`, `ended_at`: when a block began with it and ended with it, where that was noted.
    """

    role: str
    part: dict[str, Any]
    is_last: bool = False
    metadata: Any = None
    began_at: str = ""
    ended_at: str = ""


class BlockEnd(Struct, frozen=True, array_like=True):
    """The block streamed last ends behind `after` parts of its entry.

    `metadata` is what its provider wants back with it: it is stored and never leaves the server.
    """

    after: int
    metadata: Any = None
    at: str = ""


class BlockStart(Struct, frozen=True, array_like=True):
    """A block begins with the part behind `after` parts of its entry; it never leaves the server.

    Noted where reasoning begins, or something else behind it: reasoning is stored with its times.
    """

    after: int
    at: str


class PartEntry(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One flush of streamed parts. `parts` holds JSON objects `{role, part}`, still encoded.

    `seq` numbers flushes inside an episode. A folded entry stands for all flushes up to `seq`.
    """

    episode: Episode
    seq: int
    parts: list[msgspec.Raw]
    folded: bool = False
    ends: list[BlockEnd] = []
    starts: list[BlockStart] = []


_notification_decoder = msgspec.json.Decoder(Notification)
_entry_decoder = msgspec.json.Decoder(PartEntry)
_part_decoder = msgspec.json.Decoder(StreamedPart)
_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    return _encoder.encode(value)


def decode_notification(payload: bytes) -> Notification:
    return _notification_decoder.decode(payload)


def decode_entry(payload: bytes) -> PartEntry:
    return _entry_decoder.decode(payload)


def decode_onto(parts: list[StreamedPart], entry: PartEntry) -> None:
    """Append the parts of an entry to those before it, whose last one may end with the entry."""
    offset = len(parts)
    parts += [_part_decoder.decode(raw) for raw in entry.parts]
    for start in entry.starts:
        at = offset + start.after
        if at < len(parts):
            parts[at] = msgspec.structs.replace(parts[at], began_at=start.at)
    for end in entry.ends:
        if at := offset + end.after:
            parts[at - 1] = msgspec.structs.replace(
                parts[at - 1], is_last=True, metadata=end.metadata, ended_at=end.at
            )


@dataclass(frozen=True, slots=True)
class ChatNotice:
    """Ring everyone who follows a chat."""

    chat_id: UUID
    notification: Notification


@dataclass(frozen=True, slots=True)
class OwnerNotice:
    """Send one watch event, JSON, to the sockets of a chat's owner."""

    user_id: UUID
    payload: bytes


@dataclass(frozen=True, slots=True)
class CancelRunner:
    """Tell the worker that holds `runner_id` that its turn was taken away."""

    runner_id: UUID


@dataclass(frozen=True, slots=True)
class AccessNotice:
    """Have every socket of a person check whether they still may have it open."""

    user_id: UUID


@dataclass(frozen=True, slots=True)
class ConfigNotice:
    """Drop cached configuration of one kind."""

    kind: str
    entity_id: UUID


Notice = ChatNotice | OwnerNotice | CancelRunner | AccessNotice | ConfigNotice


def chat_group(chat_id: UUID) -> str:
    return f"chat.stream.{chat_id}"


def owner_group(user_id: UUID) -> str:
    return f"chat.owner.{user_id}"


def access_group(user_id: UUID) -> str:
    return f"chat.access.{user_id}"
