"""Every fault has its turn, again and again."""

from collections import Counter

import pytest

from tests.faults.shares import SHARES, faults_of
from tests.faults.strikes import STRIKES


@pytest.mark.parametrize("first", range(1, 20, SHARES))
def test_as_many_seeds_as_shares_play_every_fault_once(first: int) -> None:
    played = [name for seed in range(first, first + SHARES) for name in faults_of(seed, STRIKES)]
    assert sorted(played) == sorted(STRIKES)


def test_twenty_seeds_play_every_fault_five_times() -> None:
    played = Counter(name for seed in range(1, 21) for name in faults_of(seed, STRIKES))
    assert len(STRIKES) == 13
    assert played == Counter(dict.fromkeys(STRIKES, 5))


def test_a_seed_is_played_the_same_way_again_and_others_are_not() -> None:
    assert faults_of(7, STRIKES) == faults_of(7, STRIKES)
    assert faults_of(1, STRIKES) != faults_of(1 + SHARES, STRIKES)
