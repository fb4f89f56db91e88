"""Which limit holds for somebody, and how they stand to it: pure, `selectors` reads the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from chatd.spending.periods import Period, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLimit:
    """A limit in micros. With an organisation only what was spent there counts against it."""

    micros: int
    organization_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How somebody stands to the limit that holds for them now; amounts in micros.

    `held_micros` is what calls under way may cost.
    """

    period: Period
    window: Window
    limit_micros: int
    spent_micros: int
    held_micros: int

    @property
    def free_micros(self) -> int:
        """What calls that begin now may still cost."""
        return self.limit_micros - self.spent_micros - self.held_micros

    @property
    def is_exceeded(self) -> bool:
        return self.spent_micros >= self.limit_micros


def effective_limit(
    *, own: int | None, of_groups: Sequence[int], default: int, organization_id: UUID | None
) -> SpendLimit:
    """Return the limit that holds: one's own, else the smallest of one's groups, else the default.

    `of_groups` are those of the organisation that is asked about, or of all when it is None.
    """
    if own is not None:
        return SpendLimit(micros=own)
    if of_groups:
        return SpendLimit(micros=min(of_groups), organization_id=organization_id)
    return SpendLimit(micros=default)
