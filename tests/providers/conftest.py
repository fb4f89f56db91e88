"""Fixtures of the provider tests: the switch for keys of one's own."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chatd.providers import keys


@pytest.fixture
def byok(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Allow keys of one's own in the deployment, or not."""

    def switch(allowed: bool) -> None:
        monkeypatch.setattr(keys, "env", replace(keys.env, allow_byok=allowed))

    return switch
