"""The garbage collector of a process that serves: what start-up made is never looked at again.

A process holds half a million objects before the first request, all of which live as long as it
does. Python's collector would go through them again and again for the garbage of a few requests.
"""

import gc

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 10
"""How many objects more than were freed begin a round, and how many rounds the next older one."""


def settle_heap() -> None:
    """Set what lives aside and collect less often. Called once, when a process is ready."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
