"""Whether somebody may begin what costs money. Asked inside the transaction that would begin it."""

from uuid import UUID

import structlog
from django.db import transaction

from chatd.core.clock import rfc3339
from chatd.core.errors import ChatdError, ErrorCode
from chatd.core.outages import DATABASE_AWAY
from chatd.spending.limits import Standing
from chatd.spending.selectors import standing_of
from chatd.spending.shapes import UsageLimitExceeded

log = structlog.get_logger(__name__)


class LimitExceededError(ChatdError):
    """The 409 of who has used up a limit; its body says of which one, and until when."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(ErrorCode.CONFLICT, "Chat usage limit exceeded.")
        self.period = standing.period
        self.spent_micros = standing.spent_micros
        self.limit_micros = standing.limit_micros
        self.resets_at = standing.window.end

    def body(self) -> UsageLimitExceeded:
        return {
            **super().body(),
            "spent_micros": self.spent_micros,
            "limit_micros": self.limit_micros,
            "resets_at": rfc3339(self.resets_at),
        }


def check_limit(owner_id: UUID, organization_id: UUID) -> None:
    """Refuse an owner of chats who has used up their limit. Raises LimitExceededError.

    What calls under way hold refuses nobody here: when it is time for the next call, most of it
    will have come free.
    """
    standing = standing_or_none(owner_id, organization_id)
    if standing is not None and standing.is_exceeded:
        raise LimitExceededError(standing)


def standing_or_none(
    owner_id: UUID, organization_id: UUID, *, locked: bool = False
) -> Standing | None:
    """Return how an owner of chats stands; None without a limit, and when it cannot be read.

    A limit that cannot be read refuses nobody: that would stop the whole deployment.
    """
    try:
        with transaction.atomic():  # so that the caller's transaction survives a failed query
            return standing_of(owner_id, organization_id=organization_id, locked=locked)
    except DATABASE_AWAY as error:
        log.error("usage limit not checked", user_id=str(owner_id), error=str(error))
        return None
    except Exception:
        log.exception("usage limit not checked", user_id=str(owner_id))
        return None
