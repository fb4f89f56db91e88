"""Settings of the deployment: who sees and changes them, what is refused, what is recorded."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from chatd.accounts.models import SiteRole
from chatd.audit.models import AuditEntry
from chatd.chats.prompts import DEFAULT_SYSTEM_PROMPT
from chatd.preferences.registry import (
    ADVISOR,
    AUTO_ARCHIVE_DAYS,
    COMPUTER_USE_PROVIDER,
    DEBUG_LOGGING_ALLOWED,
    DEBUG_RETENTION_DAYS,
    DESKTOP_ENABLED,
    INCLUDE_DEFAULT_PROMPT,
    MODEL_OVERRIDES,
    PERSONAL_OVERRIDES_ALLOWED,
    PLAN_MODE_INSTRUCTIONS,
    RETENTION_DAYS,
    SITE_SETTINGS,
    SYSTEM_PROMPT,
    TEMPLATE_ALLOWLIST,
    WORKSPACE_TTL,
    ModelOverrideContext,
)
from chatd.preferences.setting import Setting
from tests.api.client import NIL, NOT_FOUND, Api, api_of
from tests.conftest import Cast
from tests.support.settings import put_site, site_texts

BAD_JSON = "Request body must be valid JSON."
FORBIDDEN = {
    "message": "Forbidden.",
    "detail": "Only administrators may change settings of the deployment.",
}
ADVISOR_OFF = {
    "enabled": False,
    "max_uses_per_run": 0,
    "max_output_tokens": 0,
    "model_config_id": NIL,
}
EVERYBODY, AUDITORS, ADMINS = "everybody", "auditors", "admins"


@dataclass(frozen=True)
class Row:
    """A route below `/chats/config`. `adds` is what GET shows beside the members of PUT."""

    path: str
    setting: Setting[Any]
    default: dict[str, Any]
    change: dict[str, Any]
    text: str
    readers: str = EVERYBODY
    refused: tuple[int, dict[str, str]] = (403, FORBIDDEN)

    def __str__(self) -> str:
        return self.path

    @property
    def url(self) -> str:
        return f"/chats/config/{self.path}"


ROWS = [
    Row(
        "system-prompt",
        SYSTEM_PROMPT,
        {
            "system_prompt": "",
            "include_default_system_prompt": True,
            "default_system_prompt": DEFAULT_SYSTEM_PROMPT,
        },
        {"system_prompt": "Be kind.", "include_default_system_prompt": True},
        "Be kind.",
        ADMINS,
    ),
    Row(
        "plan-mode-instructions",
        PLAN_MODE_INSTRUCTIONS,
        {"plan_mode_instructions": ""},
        {"plan_mode_instructions": "Plan well."},
        "Plan well.",
        ADMINS,
    ),
    Row(
        "personal-model-overrides",
        PERSONAL_OVERRIDES_ALLOWED,
        {"allow_users": False},
        {"allow_users": True},
        "true",
        AUDITORS,
    ),
    Row(
        "desktop-enabled",
        DESKTOP_ENABLED,
        {"enable_desktop": False},
        {"enable_desktop": True},
        "true",
    ),
    Row(
        "computer-use-provider",
        COMPUTER_USE_PROVIDER,
        {"provider": "anthropic"},
        {"provider": "openai"},
        "openai",
    ),
    Row(
        "debug-logging",
        DEBUG_LOGGING_ALLOWED,
        {"allow_users": False, "forced_by_deployment": False},
        {"allow_users": True},
        "true",
        AUDITORS,
    ),
    Row(
        "advisor",
        ADVISOR,
        ADVISOR_OFF,
        {"enabled": True, "max_uses_per_run": 3, "max_output_tokens": 2**62},
        '{"enabled":true,"max_uses_per_run":3,"max_output_tokens":4611686018427387904,'
        f'"model_config_id":"{NIL}"}}',
    ),
    Row(
        "workspace-ttl",
        WORKSPACE_TTL,
        {"workspace_ttl_ms": 0},
        {"workspace_ttl_ms": 90_500},
        "90500ms",
    ),
    Row("retention-days", RETENTION_DAYS, {"retention_days": 30}, {"retention_days": 7}, "7"),
    Row(
        "debug-retention-days",
        DEBUG_RETENTION_DAYS,
        {"debug_retention_days": 30},
        {"debug_retention_days": 3650},
        "3650",
    ),
    Row(
        "auto-archive-days",
        AUTO_ARCHIVE_DAYS,
        {"auto_archive_days": 0},
        {"auto_archive_days": 90},
        "90",
    ),
    Row(
        "template-allowlist",
        TEMPLATE_ALLOWLIST,
        {"template_ids": []},
        {"template_ids": []},
        "[]",
        AUDITORS,
        (404, NOT_FOUND),
    ),
    *(
        Row(
            f"model-override/{context}",
            setting,
            {"context": str(context), "model_config_id": "", "is_malformed": False},
            {"model_config_id": " "},
            "",
            AUDITORS,
        )
        for context, setting in MODEL_OVERRIDES.items()
    ),
]
each_row = pytest.mark.parametrize("row", ROWS, ids=str)


@pytest.fixture
def auditor(cast: Cast) -> Api:
    cast.bob.rbac_roles = [SiteRole.AUDITOR]
    cast.bob.save()
    return api_of(cast.bob)


@pytest.fixture
def user_admin(cast: Cast) -> Api:
    cast.bob.rbac_roles = [SiteRole.USER_ADMIN]
    cast.bob.save()
    return api_of(cast.bob)


def test_every_setting_of_the_deployment_has_a_route() -> None:
    without_one_of_its_own = {INCLUDE_DEFAULT_PROMPT.key}
    routed = {row.setting.key for row in ROWS} | without_one_of_its_own
    assert routed == {setting.key for setting in SITE_SETTINGS}


@each_row
def test_until_it_is_changed_a_setting_has_its_default(row: Row, root: Api) -> None:
    answer = root.get(row.url)
    assert (answer.status, answer.body) == (200, row.default)


SEES = {
    "alice": {EVERYBODY},
    "carol": {EVERYBODY},
    "admin": {EVERYBODY},
    "user_admin": {EVERYBODY},
    "auditor": {EVERYBODY, AUDITORS},
    "root": {EVERYBODY, AUDITORS, ADMINS},
}


@each_row
@pytest.mark.parametrize("who", SEES)
def test_who_may_not_see_a_setting_is_told_that_there_is_none(
    row: Row, who: str, request: pytest.FixtureRequest
) -> None:
    answer = request.getfixturevalue(who).get(row.url)
    expected = (200, row.default) if row.readers in SEES[who] else (404, NOT_FOUND)
    assert (answer.status, answer.body) == expected


@each_row
def test_a_change_is_answered_with_nothing_and_shown_to_everybody(row: Row, root: Api) -> None:
    for _ in range(2):
        assert root.put(row.url, row.change).status == 204
        assert site_texts()[row.setting.key] == row.text
        shown = root.get(row.url).body
        stripped = {name: v.strip() if isinstance(v, str) else v for name, v in row.change.items()}
        assert shown == {**row.default, **stripped}


@each_row
@pytest.mark.parametrize("who", ["alice", "carol", "admin", "user_admin", "auditor"])
def test_only_administrators_change_settings_and_the_body_is_not_looked_at(
    row: Row, who: str, request: pytest.FixtureRequest
) -> None:
    api = request.getfixturevalue(who)
    for body in ({"raw": b"{nonsense"}, {"body": row.change}):
        answer = api.put(row.url, **body)
        assert (answer.status, answer.body) == row.refused
    assert site_texts() == {}
    assert not AuditEntry.objects.filter(resource_type="setting").exists()


@each_row
def test_nobody_is_refused(row: Row, db: None) -> None:
    assert Api().get(row.url).status == 401
    assert Api().put(row.url, row.change).status == 401
    assert site_texts() == {}


@each_row
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "OPTIONS"])
def test_settings_are_read_and_replaced_and_nothing_else(row: Row, method: str, root: Api) -> None:
    answer = root.call(method, row.url, row.change)
    assert (answer.status, answer.body) == (405, {"message": "Method not allowed."})
    assert site_texts() == {}


# Bodies

WRONG: dict[type, list[Any]] = {
    str: [1, 1.5, True, [], {}],
    bool: [1, 0, "true", [], {}],
    int: ["1", 1.5, True, [], {}, 2**63, -(2**63) - 1, 10**30],
    list: [1, True, "x", {}, [None], [1], [[]]],
}


@each_row
def test_a_value_of_a_wrong_type_is_refused(row: Row, root: Api) -> None:
    for name, value in row.change.items():
        for wrong in WRONG[type(value)]:
            answer = root.put(row.url, row.change | {name: wrong})
            assert (answer.status, answer.message) == (400, BAD_JSON), (name, wrong)
            assert answer.detail
    for raw in (b"", b"nonsense", b"[]", b"null", b'"x"', b"{} {}", b'{"x":"\xff"}', b"\x00"):
        answer = root.put(row.url, raw=raw)
        assert (answer.status, answer.message) == (400, BAD_JSON)
    assert site_texts() == {}


WITH_A_ZERO = [row for row in ROWS if row.path not in ("system-prompt", "computer-use-provider")]


@pytest.mark.parametrize("row", WITH_A_ZERO, ids=str)
def test_what_is_absent_or_null_is_the_zero_value(row: Row, root: Api) -> None:
    put_site(row.setting, row.text)
    for body in ({}, dict.fromkeys(row.change), {"unknown": 1}):
        assert root.put(row.url, body).status == 204
        shown = root.get(row.url).body
        assert not any(value for name, value in shown.items() if name in row.change)


DAYS = [
    ("retention-days", "retention_days", "Retention"),
    ("debug-retention-days", "debug_retention_days", "Chat debug retention"),
    ("auto-archive-days", "auto_archive_days", "Auto-archive"),
]


@pytest.mark.parametrize(("path", "name", "subject"), DAYS)
@pytest.mark.parametrize("days", [-1, 3651, 2**31 - 1, -(2**31)])
def test_days_are_between_0_and_3650(
    path: str, name: str, subject: str, days: int, root: Api
) -> None:
    answer = root.put(f"/chats/config/{path}", {name: days})
    assert answer.status == 400
    assert answer.body == {"message": f"{subject} days must be between 0 and 3650."}
    for good in (0, 3650):
        assert root.put(f"/chats/config/{path}", {name: good}).status == 204
        assert root.get(f"/chats/config/{path}").body == {name: good}


@pytest.mark.parametrize("days", [2**31, -(2**31) - 1])
@pytest.mark.parametrize(("path", "name", "subject"), DAYS)
def test_days_that_fit_no_32_bits_are_no_days(path, name, subject, days, root: Api) -> None:
    assert root.put(f"/chats/config/{path}", {name: days}).message == BAD_JSON


@pytest.mark.parametrize(
    ("millis", "message"),
    [
        (-1, "Workspace TTL must be non-negative."),
        (-(2**63), "Workspace TTL must be non-negative."),
        (1, "Workspace TTL must not be less than 1 minute."),
        (59_999, "Workspace TTL must not be less than 1 minute."),
        (2_592_000_001, "Workspace TTL must not exceed 30 days."),
        (2**63 - 1, "Workspace TTL must not exceed 30 days."),
    ],
)
def test_a_lifetime_of_workspaces_outside_its_bounds_is_refused(millis, message, root) -> None:
    answer = root.put("/chats/config/workspace-ttl", {"workspace_ttl_ms": millis})
    assert (answer.status, answer.body) == (400, {"message": message})
    assert site_texts() == {}


@pytest.mark.parametrize("millis", [0, 60_000, 60_001, 2_592_000_000])
def test_a_lifetime_of_workspaces_inside_its_bounds_is_kept(millis: int, root: Api) -> None:
    body = {"workspace_ttl_ms": millis}
    assert root.put("/chats/config/workspace-ttl", body).status == 204
    assert root.get("/chats/config/workspace-ttl").body == body


@pytest.mark.parametrize("provider", ["", "Anthropic", "openai ", "google", "\x00"])
def test_a_provider_for_computer_use_is_one_of_two(provider: str, root: Api) -> None:
    answer = root.put("/chats/config/computer-use-provider", {"provider": provider})
    assert (answer.status, answer.body) == (
        400,
        {
            "message": "Invalid computer use provider.",
            "detail": f'Expected one of: anthropic, openai. Got "{provider}".',
        },
    )
    for absent in ({}, {"provider": None}):
        assert root.put("/chats/config/computer-use-provider", absent).status == 400


def test_there_are_no_templates_to_allow(root: Api) -> None:
    first, second = uuid4(), uuid4()
    for raw in ("x", "", NIL + "0", "{" + NIL + "}"):
        answer = root.put("/chats/config/template-allowlist", {"template_ids": [raw]})
        assert (answer.status, answer.message) == (400, "Invalid template ID in allowlist.")
    ids = [str(first).upper(), str(second), str(first)]
    answer = root.put("/chats/config/template-allowlist", {"template_ids": ids})
    assert (answer.status, answer.body) == (
        400,
        {
            "message": "One or more templates not found or deprecated.",
            "detail": f"Missing IDs: {first}, {second}",
        },
    )
    assert site_texts() == {}


def test_the_template_list_that_is_stored_is_shown(root: Api) -> None:
    first, second = uuid4(), uuid4()
    put_site(TEMPLATE_ALLOWLIST, f'["{second}","{first}"]')
    assert root.get("/chats/config/template-allowlist").body == {
        "template_ids": [str(second), str(first)]
    }


# What somebody else stored

MALFORMED = [
    (PERSONAL_OVERRIDES_ALLOWED, "personal-model-overrides", ["TRUE", "1", "yes", "\x00"]),
    (DESKTOP_ENABLED, "desktop-enabled", ["True", " true", "on"]),
    (DEBUG_LOGGING_ALLOWED, "debug-logging", ["1", "truee"]),
    (COMPUTER_USE_PROVIDER, "computer-use-provider", ["google", "OpenAI", "{}"]),
    (WORKSPACE_TTL, "workspace-ttl", ["soon", "-5m", "1", "999999h", "1h1h1h1h1h1h1h", "9" * 5000]),
    (RETENTION_DAYS, "retention-days", ["-1", "3651", "a week", "1e3", "٣", "9" * 5000, " 7"]),
    (DEBUG_RETENTION_DAYS, "debug-retention-days", ["+7", "7.0", "0x1"]),
    (AUTO_ARCHIVE_DAYS, "auto-archive-days", ["never", "\x00"]),
]


@pytest.mark.parametrize(("setting", "path", "texts"), MALFORMED, ids=lambda each: str(each)[:20])
def test_a_stored_text_that_cannot_be_understood_is_the_default(setting, path, texts, root) -> None:
    default = root.get(f"/chats/config/{path}").body
    for text in texts:
        put_site(setting, text)
        answer = root.get(f"/chats/config/{path}")
        assert (answer.status, answer.body) == (200, default), text


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("0s", 0),
        ("1h30m0s", 5_400_000),
        ("1m0.5s", 60_500),
        ("720h0m0s", 2_592_000_000),
        ("90000ms", 90_000),
        ("1h0m0s", 3_600_000),
    ],
)
def test_lifetimes_are_read_as_the_original_stores_them(text, millis, root: Api) -> None:
    put_site(WORKSPACE_TTL, text)
    assert root.get("/chats/config/workspace-ttl").body == {"workspace_ttl_ms": millis}


@pytest.mark.parametrize("text", ["{", "null", "[]", '"x"', '{"enabled":1}', '{"enabled":"yes"}'])
def test_a_broken_advisor_is_told_and_can_be_replaced(text: str, root: Api, alice: Api) -> None:
    put_site(ADVISOR, text)
    answer = alice.get("/chats/config/advisor")
    assert (answer.status, answer.body) == (
        500,
        {"message": "Stored advisor configuration is invalid."},
    )
    assert root.put("/chats/config/advisor", {}).status == 204
    assert alice.get("/chats/config/advisor").body == ADVISOR_OFF


def test_an_advisor_stored_with_negative_and_unknown_members_is_shown(alice: Api) -> None:
    put_site(ADVISOR, '{"enabled":true,"max_uses_per_run":-5,"max_output_tokens":-1,"new":[1]}')
    assert alice.get("/chats/config/advisor").body == ADVISOR_OFF | {"enabled": True}
    put_site(ADVISOR, "{}")
    assert alice.get("/chats/config/advisor").body == ADVISOR_OFF


@pytest.mark.parametrize("text", ["{", "null", "{}", '["x"]', "[1]"])
def test_a_broken_template_list_is_told_and_can_be_replaced(text: str, root: Api) -> None:
    put_site(TEMPLATE_ALLOWLIST, text)
    answer = root.get("/chats/config/template-allowlist")
    assert (answer.status, answer.message) == (500, "Stored template allowlist is invalid.")
    assert root.put("/chats/config/template-allowlist", {"template_ids": []}).status == 204
    assert root.get("/chats/config/template-allowlist").body == {"template_ids": []}


# The audit log


def test_a_change_is_recorded_with_what_was_before(root: Api, cast: Cast) -> None:
    for days in (7, 7, 9):
        root.put("/chats/config/retention-days", {"retention_days": days})
    root.put("/chats/config/retention-days", {"retention_days": -1})
    first, second = AuditEntry.objects.filter(resource_type="setting").order_by("id")
    assert first.changes == {"value": {"old": None, "new": "7"}}
    assert second.changes == {"value": {"old": "7", "new": "9"}}
    assert (second.actor_id, second.actor_name) == (cast.root.pk, "root")
    assert second.api_key_id
    assert (second.action, second.resource_id) == ("write", RETENTION_DAYS.key)
    assert second.resource_name == RETENTION_DAYS.label


@each_row
def test_every_setting_leaves_its_trace(row: Row, root: Api) -> None:
    root.put(row.url, row.change)
    entries = AuditEntry.objects.filter(resource_type="setting")
    assert row.setting.key in set(entries.values_list("resource_id", flat=True))


def test_two_settings_of_one_request_leave_two_entries(root: Api) -> None:
    body = {"system_prompt": "x", "include_default_system_prompt": False}
    root.put("/chats/config/system-prompt", body)
    entries = AuditEntry.objects.filter(resource_type="setting")
    assert set(entries.values_list("resource_id", flat=True)) == {
        SYSTEM_PROMPT.key,
        INCLUDE_DEFAULT_PROMPT.key,
    }


@pytest.mark.parametrize("context", ModelOverrideContext)
def test_reading_a_setting_costs_one_query_beside_the_token(
    context, alice: Api, root: Api, django_assert_num_queries
) -> None:
    root.get("/chats/config/retention-days")  # the first use of a token is recorded
    for path in ("retention-days", "system-prompt", f"model-override/{context}"):
        with django_assert_num_queries(2):
            root.get(f"/chats/config/{path}")
