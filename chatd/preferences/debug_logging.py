"""Whether the model calls of somebody's chats are recorded, and who decides that."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from chatd.accounts.models import User
from chatd.core.errors import conflict, forbidden
from chatd.preferences.actions import store_personal
from chatd.preferences.registry import DEBUG_LOGGING_ALLOWED, PERSONAL_DEBUG_LOGGING
from chatd.preferences.selectors import personal_value, site_value
from chatd.preferences.setting import Values
from config.env import env


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugLogging:
    """Whether calls are recorded for a person, and whether that person may change it."""

    enabled: bool
    may_choose: bool


def is_forced() -> bool:
    """Tell whether the deployment records all model calls, whatever anybody chose."""
    return env.force_debug_logging


def debug_logging_of(user_id: UUID) -> DebugLogging:
    """Return what holds for a person. A choice that is not allowed any more is kept, but idle."""
    if is_forced():
        return DebugLogging(enabled=True, may_choose=False)
    allowed = site_value(DEBUG_LOGGING_ALLOWED)
    enabled = allowed and personal_value(user_id, PERSONAL_DEBUG_LOGGING)
    return DebugLogging(enabled=enabled, may_choose=allowed)


def records_for(personal: Values) -> bool:
    """Tell whether calls of a person's chats are recorded, from what that person has chosen.

    `personal` was read with `PERSONAL_DEBUG_LOGGING`; the deployment's part is read only if needed.
    """
    return is_forced() or (personal[PERSONAL_DEBUG_LOGGING] and site_value(DEBUG_LOGGING_ALLOWED))


def choose_debug_logging(user: User, wanted: Callable[[], bool]) -> None:
    """Switch the recording of one's own model calls. Raises ChatdError 400, 403, 409."""
    if is_forced():
        raise conflict("Chat debug logging is already forced on by deployment configuration.")
    if not site_value(DEBUG_LOGGING_ALLOWED):
        raise forbidden("An administrator has not enabled user-controlled chat debug logging.")
    store_personal(user, PERSONAL_DEBUG_LOGGING.to(wanted()))
