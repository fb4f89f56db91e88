"""What else goes when something is deleted: clean-ups of apps that the deleting one may not know.

The layers point one way, so an app that keeps something for a person or a thing of a lower app
registers its clean-up when Django starts. Whoever deletes cannot forget one.
"""

from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Endings(Generic[P]):
    """The clean-ups of one kind of deletion; they run in its transaction, in no promised order."""

    def __init__(self) -> None:
        self._registered: list[Callable[P, None]] = []

    def register(self, ending: Callable[P, None]) -> None:
        """Add a clean-up; once is enough, however often it is said."""
        if ending not in self._registered:
            self._registered.append(ending)

    def carry_out(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run every clean-up; one that fails undoes the deletion."""
        for ending in self._registered:
            ending(*args, **kwargs)
