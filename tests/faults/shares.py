"""Which faults a seed plays: a share of all, so that as many seeds as there are shares have all."""

import random
from collections.abc import Iterable

SHARES = 4


def faults_of(seed: int, all_faults: Iterable[str]) -> list[str]:
    """Return the faults of a seed, 1 or more, in the order they are played."""
    names = sorted(all_faults)
    group, share = divmod(seed - 1, SHARES)
    random.Random(f"faults {group}").shuffle(names)
    return names[share::SHARES]
