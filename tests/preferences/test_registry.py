"""The registry: every setting is complete, documented, and reads whatever may be stored."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.accounts.policy import SiteRight
from chatd.core.errors import ChatdError
from chatd.core.ids import NIL_UUID
from chatd.preferences import registry
from chatd.preferences.codecs import Advisor, OverrideMode, PersonalOverride
from chatd.preferences.kinds import MAX_DAYS, MAX_TTL_MILLIS, MIN_TTL_MILLIS
from chatd.preferences.models import MAX_KEY
from chatd.preferences.registry import (
    ADVISOR,
    COMPACTION_THRESHOLD,
    COMPUTER_USE_PROVIDER,
    NOT_IN_EFFECT,
    PERSONAL_OVERRIDES,
    PERSONAL_SETTINGS,
    RETENTION_DAYS,
    SITE_GROUPS,
    SITE_SETTINGS,
    SYSTEM_PROMPT,
    WORKSPACE_TTL,
    PersonalOverrideContext,
)
from chatd.preferences.setting import Kind, Setting, Values

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
READERS = {
    None: "everybody",
    SiteRight.CONFIG_READ: "admins, auditors",
    SiteRight.CONFIG_UPDATE: "admins",
}
ALL = [*SITE_SETTINGS, *PERSONAL_SETTINGS]
each_setting = pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.key)


def documented(heading: str) -> list[str]:
    """Return the rows of the table below a heading of the configuration's document."""
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    return re.findall(r"^\| `.*$", section.split("\n## ")[0], re.MULTILINE)


def tables(heading: str) -> dict[str, list[str]]:
    """Return the rows of the tables below a heading, by the headings of their groups."""
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    groups = re.split(r"^### (.*)$", section.split("\n## ")[0], flags=re.MULTILINE)
    pairs = zip(groups[1::2], groups[2::2], strict=True)
    return {title: re.findall(r"^\| `.*$", text, re.MULTILINE) for title, text in pairs}


def row(setting: Setting[Any], *columns: str) -> str:
    """Return the row of the documentation for a setting."""
    key = setting.key + (f"<{setting.parameter}>" if setting.parameter else "")
    default = setting.encode(setting.default)
    cells = [
        f"`{key}`",
        f"`{default}`" if default else "none",
        *columns,
        f"{setting.label}. {setting.help}{'' if setting.in_effect else f' {NOT_IN_EFFECT}'}",
    ]
    return f"| {' | '.join(cells)} |"


def test_the_settings_of_the_deployment_are_documented_as_they_are() -> None:
    assert tables("Settings of the deployment") == {
        group.title: [row(setting, READERS[setting.read_right]) for setting in group.settings]
        for group in SITE_GROUPS
    }


@each_setting
def test_a_setting_has_what_its_kind_needs(setting: Setting[Any]) -> None:
    assert bool(setting.choices) == (setting.kind is Kind.CHOICE)
    assert bool(setting.empty) == (setting.kind is Kind.MODEL)


def test_the_settings_of_people_are_documented_as_they_are() -> None:
    assert documented("Settings of people") == [row(setting) for setting in PERSONAL_SETTINGS]


@each_setting
def test_a_setting_has_a_name_and_one_line_of_help(setting: Setting[Any]) -> None:
    assert setting.label
    assert setting.help.endswith(".")
    assert "\n" not in setting.help
    assert len(setting.key) + len(str(NIL_UUID)) <= MAX_KEY


def test_keys_are_unique_and_none_begins_with_another() -> None:
    keys = [setting.key for setting in ALL]
    clashes = [(a, b) for a in keys for b in keys if a != b and b.startswith(a)]
    assert (len(set(keys)), clashes) == (len(ALL), [])


def test_every_setting_that_is_defined_is_listed() -> None:
    defined = [each for each in vars(registry).values() if isinstance(each, Setting)]
    in_groups = [
        each
        for group in vars(registry).values()
        if isinstance(group, dict)
        for each in group.values()
        if isinstance(each, Setting)
    ]
    assert {each.key for each in [*defined, *in_groups]} == {each.key for each in ALL}


@each_setting
@given(text=st.text())
def test_reading_never_raises(setting: Setting[Any], text: str) -> None:
    setting.decode(text)


NASTY = [
    "9" * 10_000,
    "1" * 12 + "h" + "1" * 12 + "h",
    "[" * 10_000,
    '{"a":' * 10_000,
    '{"max_uses_per_run":1e400}',
    '{"max_uses_per_run":99999999999999999999}',
    "\x00",
    "\udcff",
    "٣",
    "model:" * 1000,
]


@each_setting
@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_reading_never_raises_whatever_somebody_stored(setting: Setting[Any], text: str) -> None:
    setting.decode(text)


@each_setting
def test_a_default_that_is_stored_is_the_default(setting: Setting[Any]) -> None:
    text = setting.encode(setting.default)
    assert Values([setting], [(setting.key, text)])[setting] == setting.default


IDS = st.uuids().filter(lambda found: found != NIL_UUID)
GOOD: list[tuple[Setting[Any], st.SearchStrategy[Any]]] = [
    (SYSTEM_PROMPT, st.text(max_size=200)),
    (RETENTION_DAYS, st.integers(0, MAX_DAYS)),
    (WORKSPACE_TTL, st.just(0) | st.integers(MIN_TTL_MILLIS, MAX_TTL_MILLIS)),
    (COMPUTER_USE_PROVIDER, st.sampled_from(["anthropic", "openai"])),
    (COMPACTION_THRESHOLD, st.integers(0, 100)),
    (
        ADVISOR,
        st.builds(
            Advisor,
            enabled=st.booleans(),
            max_uses_per_run=st.integers(0, 2**63 - 1),
            max_output_tokens=st.integers(0, 2**63 - 1),
            model_config_id=st.uuids(),
        ),
    ),
    (
        PERSONAL_OVERRIDES[PersonalOverrideContext.GENERAL],
        st.builds(PersonalOverride, st.just(OverrideMode.MODEL), IDS)
        | st.sampled_from(list(OverrideMode)[:2]).map(PersonalOverride),
    ),
]


@pytest.mark.parametrize(("setting", "values"), GOOD, ids=lambda each: getattr(each, "key", ""))
@given(data=st.data())
def test_what_is_stored_is_read_again(
    setting: Setting[Any], values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    value = setting.check(data.draw(values))
    read = Values([setting], [(setting.key, setting.encode(value))])[setting]
    assert read == value


def test_a_setting_that_was_not_asked_for_is_not_read_as_unset() -> None:
    with pytest.raises(KeyError):
        Values([RETENTION_DAYS], [])[WORKSPACE_TTL]


def test_a_value_that_is_refused_has_no_text() -> None:
    with pytest.raises(ChatdError):
        RETENTION_DAYS.to(-1)


def test_a_setting_with_a_parameter_stands_for_many() -> None:
    config = UUID(int=1)
    one = COMPACTION_THRESHOLD.of(config)
    assert one.key == f"chat_compaction_threshold_pct:{config}"
    assert one.parameter == ""
