"""The JSON objects of chats as clients see them: REST answers, stream and watch events.

`wire` builds most of them. Message parts are documented from the structs in `parts`, which write
them: every part is stored, and shown, as `to_stored` made it.
"""

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from chatd.accounts.shapes import Group, MinimalUser
from chatd.chats import models
from chatd.chats.debug_models import DebugOperation, DebugRunKind, DebugStatus
from chatd.core.shapes import Timestamp, Uuid, documented, one_of

MessagePart = Annotated[dict[str, Any], documented(**{"$ref": "#/components/schemas/MessagePart"})]
Status = Annotated[str, one_of(models.Status)]


class ChatError(TypedDict):
    """Why the last turn failed. New kinds may come: treat an unknown one as `generic`."""

    message: str
    kind: Annotated[
        str,
        Meta(
            description="generic, overloaded, rate_limit, timeout, startup_timeout, auth, config,"
            " usage_limit, missing_key or provider_disabled"
        ),
    ]
    retryable: bool
    detail: NotRequired[str]
    provider: NotRequired[str]
    status_code: NotRequired[int]


class DiffStatus(TypedDict):
    """What is known about the pull request or branch of a chat."""

    chat_id: Uuid
    pull_request_title: str
    pull_request_draft: bool
    changes_requested: bool
    additions: int
    deletions: int
    changed_files: int
    url: NotRequired[str]
    pull_request_state: NotRequired[str]
    author_login: NotRequired[str]
    author_avatar_url: NotRequired[str]
    base_branch: NotRequired[str]
    head_branch: NotRequired[str]
    pr_number: NotRequired[int]
    commits: NotRequired[int]
    approved: NotRequired[bool]
    reviewer_count: NotRequired[int]
    refreshed_at: NotRequired[Timestamp]
    stale_at: NotRequired[Timestamp]


class DiffContents(TypedDict):
    """Where the diff of a chat is found. This deployment has no workspaces to read one from."""

    chat_id: Uuid
    pull_request_url: NotRequired[str]


class GitChange(TypedDict):
    """Of older clients; never filled."""


class FileMetadata(TypedDict):
    """A file that a message of the chat refers to."""

    id: Uuid
    owner_id: Uuid
    organization_id: Uuid
    name: str
    mime_type: str
    created_at: Timestamp


class StoredFile(TypedDict):
    """The id under which an uploaded file can be named in a message, and downloaded."""

    id: Uuid


class Chat(TypedDict):
    """A conversation and the state of its current turn."""

    id: Uuid
    organization_id: Uuid
    owner_id: Uuid
    root_chat_id: Annotated[Uuid, Meta(description="A root chat names itself.")]
    last_model_config_id: Uuid
    title: str
    status: Status
    last_turn_summary: str | None
    created_at: Timestamp
    updated_at: Timestamp
    archived: bool
    pin_order: Annotated[int, Meta(ge=0, description="Position among the pins, 0 = not pinned.")]
    mcp_server_ids: list[Uuid]
    labels: dict[str, str]
    has_unread: Annotated[bool, Meta(description="Computed in lists and for `children` only.")]
    client_type: Annotated[str, one_of(models.ClientType)]
    children: Annotated[list["Chat"], Meta(description="The sub-chats of a root chat.")]
    owner_username: NotRequired[str]
    owner_name: NotRequired[str]
    workspace_id: NotRequired[Uuid]
    build_id: NotRequired[Uuid]
    agent_id: NotRequired[Uuid]
    workspace_agent_id: NotRequired[Annotated[Uuid, Meta(description="`agent_id`, as it was.")]]
    parent_chat_id: NotRequired[Uuid]
    plan_mode: NotRequired[Annotated[str, one_of(models.PlanMode)]]
    last_error: NotRequired[ChatError]
    diff_status: NotRequired[DiffStatus]
    files: NotRequired[list[FileMetadata]]
    last_injected_context: NotRequired[list[MessagePart]]
    warnings: NotRequired[Annotated[list[str], Meta(description="Only in the answer to create.")]]
    snippet: NotRequired[Annotated[str, Meta(description="Only of a search: what was found.")]]
    snippet_message_id: NotRequired[
        Annotated[int, Meta(description="Where it was found, unless it is the title.")]
    ]


class MessageUsage(TypedDict):
    """Tokens of one model call; what the provider did not tell is absent."""

    input_tokens: NotRequired[int]
    output_tokens: NotRequired[int]
    total_tokens: NotRequired[int]
    reasoning_tokens: NotRequired[int]
    cache_creation_tokens: NotRequired[int]
    cache_read_tokens: NotRequired[int]
    context_limit: NotRequired[int]


class ChatMessage(TypedDict):
    """A stored message. Ids grow across the deployment and are the cursor of clients."""

    id: int
    chat_id: Uuid
    created_at: Timestamp
    role: Annotated[str, one_of(models.Role)]
    created_by: NotRequired[Uuid]
    model_config_id: NotRequired[Uuid]
    content: NotRequired[list[MessagePart]]
    usage: NotRequired[MessageUsage]


class ChatQueuedMessage(TypedDict):
    """A message that waits for the running turn to end."""

    id: int
    chat_id: Uuid
    content: list[MessagePart]
    created_at: Timestamp
    model_config_id: NotRequired[Uuid]


class ChatWithHistory(Chat):
    """A chat; deployments that serve older clients add its messages and its queue."""

    chat: NotRequired[Chat]
    messages: NotRequired[list[ChatMessage]]
    queued_messages: NotRequired[list[ChatQueuedMessage]]


class MessagePage(TypedDict):
    """A page of messages, and the queue where no cursor was given."""

    messages: list[ChatMessage]
    queued_messages: list[ChatQueuedMessage]
    has_more: Annotated[bool, Meta(description="There are more in the direction of the page.")]


class SentMessage(TypedDict):
    """A message that was stored at once, or queued behind a running turn."""

    queued: bool
    message: NotRequired[ChatMessage]
    queued_message: NotRequired[ChatQueuedMessage]
    warnings: NotRequired[list[str]]


class EditedMessage(ChatMessage):
    """The message that took the place of the edited one, and once more at the top level."""

    message: ChatMessage
    warnings: NotRequired[list[str]]


class Acknowledgement(TypedDict):
    """What was asked for will be done."""

    message: str


class Prompt(TypedDict):
    """What a user message asked, as one text."""

    id: int
    text: str


class Prompts(TypedDict):
    prompts: list[Prompt]


class ClientToolCall(TypedDict):
    """A tool call that the client has to carry out; `args` is text that holds JSON."""

    tool_call_id: str
    tool_name: str
    args: str


class CallInDoubt(TypedDict):
    """A tool call whose worker was lost in the middle of it; `args` is text that holds JSON."""

    id: str
    tool_call_id: str
    tool_name: str
    args: str
    mcp_server_config_id: str
    created_at: str


class Retry(TypedDict):
    """The model is called again after a pause; what was streamed of the answer is void."""

    attempt: Annotated[int, Meta(ge=1)]
    delay_ms: Annotated[int, Meta(ge=0)]
    error: str
    kind: str
    retrying_at: Timestamp
    provider: NotRequired[str]
    status_code: NotRequired[int]


class StatusChange(TypedDict):
    status: Status


class StreamedPart(TypedDict):
    """A part as it comes in: texts are to be appended, `args_delta` to the call it names."""

    role: Annotated[str, documented(enum=["assistant", "tool"])]
    part: MessagePart


class ActionRequired(TypedDict):
    tool_calls: list[ClientToolCall]


class StreamEvent(TypedDict):
    """Something that happened in a chat; the member that goes with `type` says what."""

    type: Annotated[
        str,
        documented(
            enum=[
                "status",
                "message",
                "message_part",
                "queue_update",
                "retry",
                "error",
                "action_required",
            ]
        ),
    ]
    chat_id: Uuid
    status: NotRequired[StatusChange]
    message: NotRequired[ChatMessage]
    message_part: NotRequired[StreamedPart]
    queued_messages: NotRequired[
        Annotated[list[ChatQueuedMessage], Meta(description="The whole queue; absent if empty.")]
    ]
    retry: NotRequired[Retry]
    error: NotRequired[ChatError]
    action_required: NotRequired[ActionRequired]


class WatchEvent(TypedDict):
    """Something that happened to one of one's own chats, as it is now."""

    kind: Annotated[
        str,
        documented(
            enum=[
                "created",
                "deleted",
                "status_change",
                "title_change",
                "summary_change",
                "diff_status_change",
                "action_required",
            ]
        ),
    ]
    chat: Chat
    tool_calls: NotRequired[list[ClientToolCall]]


AclRole = Annotated[str, documented(enum=["read", ""])]


class ChatUser(MinimalUser):
    """Somebody the chat is shared with."""

    role: AclRole


class ChatGroup(Group):
    """A group the chat is shared with; its members are counted, not listed."""

    quota_allowance: int
    role: AclRole


class ChatAcl(TypedDict):
    users: list[ChatUser]
    groups: list[ChatGroup]


class SuggestedTitle(TypedDict):
    """A title that a model wrote and nothing stored; empty where there is nothing to name."""

    title: str


class DebugRunSummary(TypedDict):
    """One piece of work with a model."""

    id: Uuid
    chat_id: Uuid
    kind: Annotated[str, one_of(DebugRunKind)]
    status: Annotated[str, one_of(DebugStatus)]
    summary: dict[str, Any]
    started_at: Timestamp
    updated_at: Timestamp
    provider: NotRequired[str]
    model: NotRequired[str]
    finished_at: NotRequired[Timestamp]


class DebugStep(TypedDict):
    """One model call of a run."""

    id: Uuid
    run_id: Uuid
    chat_id: Uuid
    step_number: int
    operation: Annotated[str, one_of(DebugOperation)]
    status: Annotated[str, one_of(DebugStatus)]
    normalized_request: dict[str, Any]
    attempts: list[dict[str, Any]]
    metadata: dict[str, Any]
    started_at: Timestamp
    updated_at: Timestamp
    finished_at: NotRequired[Timestamp]
    history_tip_message_id: NotRequired[int]
    assistant_message_id: NotRequired[int]
    normalized_response: NotRequired[dict[str, Any]]
    usage: NotRequired[dict[str, Any]]
    error: NotRequired[dict[str, Any]]


class DebugRun(DebugRunSummary):
    """A run with its steps, and what it was about."""

    steps: list[DebugStep]
    root_chat_id: NotRequired[Uuid]
    parent_chat_id: NotRequired[Uuid]
    model_config_id: NotRequired[Uuid]
    trigger_message_id: NotRequired[int]
    history_tip_message_id: NotRequired[int]
