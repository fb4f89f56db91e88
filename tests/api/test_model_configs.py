"""Model configs over the API: who sees what, what is refused in which order, the one default."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chatd.accounts.actions import create_user
from chatd.accounts.models import SiteRole
from chatd.audit.models import Action, AuditEntry
from chatd.live import config as announcing
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from chatd.providers.price_models import ModelPrice
from chatd.providers.pricing import Prices
from tests.api.client import NIL, NOT_FOUND, Answer, Api, api_of

PATH = "/chats/model-configs"
INPUT, OUTPUT = "input_price_per_million_tokens", "output_price_per_million_tokens"
FORBIDDEN = {"message": "Forbidden.", "detail": "Only administrators may change models."}


def add_provider(name: str = "other", kind: str = "openai", **fields: Any) -> AIProvider:
    return save_provider(
        AIProvider(type=kind, name=name, base_url="http://127.0.0.1:9/v1", **fields)
    )


def wanted(model: ModelConfig, /, **changes: Any) -> dict[str, Any]:
    return {
        "ai_provider_id": str(model.ai_provider_id),
        "model": "new",
        "context_limit": 1000,
        **changes,
    }


def created(root: Api, model: ModelConfig, /, **changes: Any) -> dict[str, Any]:
    answer = root.post(PATH, wanted(model, **changes))
    assert answer.status == 201
    body: dict[str, Any] = answer.body
    return body


def refusal(answer: Answer) -> tuple[int, str, str]:
    return answer.status, answer.message, answer.detail


def defaults() -> list[str]:
    return list(ModelConfig.objects.filter(is_default=True).values_list("model", flat=True))


def bad_json(answer: Answer) -> bool:
    return (answer.status, answer.message) == (400, "Request body must be valid JSON.")


# Create


def test_a_new_config_is_shown_with_its_defaults(root: Api, model: ModelConfig) -> None:
    body = created(root, model, model=" new ", display_name=" New ", provider="ignored")
    row = ModelConfig.objects.get(pk=body["id"])
    assert body == {
        "id": str(row.pk),
        "provider": "openai-compat",
        "ai_provider_id": str(model.ai_provider_id),
        "model": "new",
        "display_name": "New",
        "enabled": True,
        "is_default": False,
        "context_limit": 1000,
        "compression_threshold": 70,
        "created_at": body["created_at"],
        "updated_at": body["updated_at"],
    }
    assert body in root.get(PATH).body


def test_everything_that_can_be_set_comes_back(root: Api, model: ModelConfig) -> None:
    options = {
        "temperature": 0.5,
        "max_output_tokens": 9,
        "cost": {INPUT: "2.5", OUTPUT: "0"},
        "provider_options": {"openaicompat": {"user": "u\u0000", "reasoning_effort": "High"}},
    }
    body = created(
        root,
        model,
        enabled=False,
        is_default=True,
        compression_threshold=0,
        model_config=options,
    )
    assert body["model_config"] == options
    assert (body["enabled"], body["is_default"], body["compression_threshold"]) == (False, True, 0)
    assert next(each for each in root.get(PATH).body if each["id"] == body["id"]) == body


def test_prices_are_texts_in_their_shortest_form(root: Api, model: ModelConfig) -> None:
    cost = {INPUT: 2.50, OUTPUT: "1e2"}
    shown = created(root, model, model_config={"cost": cost, "cache_read_x": 1})["model_config"]
    assert shown == {"cost": {INPUT: "2.5", OUTPUT: "100"}}


def test_prices_at_the_top_level_are_shown_in_cost(root: Api, model: ModelConfig) -> None:
    config = {INPUT: 1, OUTPUT: 2, "cost": {OUTPUT: 3}}
    shown = created(root, model, model_config=config)["model_config"]
    assert shown == {"cost": {INPUT: "1", OUTPUT: "3"}}


@pytest.mark.parametrize("config", [{}, None, {"cost": {}}, {"temperature": None, "mystery": 1}])
def test_an_empty_config_is_left_out(root: Api, model: ModelConfig, config: Any) -> None:
    assert "model_config" not in created(root, model, model_config=config)


def test_the_same_model_may_exist_twice(root: Api, model: ModelConfig) -> None:
    assert created(root, model)["id"] != created(root, model)["id"]


CREATE_REFUSALS: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({"ai_provider_id": None}, (400, "AI provider ID is required.", "")),
    ({"ai_provider_id": NIL}, (400, "AI provider ID is required.", "")),
    ({"ai_provider_id": str(uuid4())}, (412, "AI provider is not configured.", "")),
    ({"model": " "}, (400, "Model is required.", "")),
    (
        {"context_limit": None},
        (400, "Context limit is required.", "context_limit must be greater than zero."),
    ),
    (
        {"context_limit": 0},
        (400, "Context limit is required.", "context_limit must be greater than zero."),
    ),
    (
        {"compression_threshold": 101},
        (
            400,
            "Invalid compression threshold.",
            "compression_threshold must be between 0 and 100.",
        ),
    ),
    (
        {"model_config": {"cost": {OUTPUT: "-0.1"}}},
        (400, "Invalid model config.", f"cost.{OUTPUT} must be greater than or equal to zero"),
    ),
    (
        {"model_config": {INPUT: -1}},
        (400, "Invalid model config.", f"cost.{INPUT} must be greater than or equal to zero"),
    ),
]
"""In the order in which they are told."""


@pytest.mark.parametrize(("change", "expected"), CREATE_REFUSALS)
def test_a_config_is_refused_with_its_reason(
    root: Api, model: ModelConfig, change: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    assert refusal(root.post(PATH, wanted(model, **change))) == expected
    assert ModelConfig.objects.count() == 1
    assert not ModelPrice.objects.exists()


def test_the_first_thing_that_is_wrong_is_told(root: Api, model: ModelConfig) -> None:
    body = wanted(model)
    for change, expected in reversed(CREATE_REFUSALS):
        body |= change
        assert refusal(root.post(PATH, body)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"enabled": False}, "AI provider is disabled."), ({"deleted": True}, "not configured")],
)
def test_a_provider_that_cannot_be_used_is_a_412(
    root: Api, model: ModelConfig, change: dict[str, Any], expected: str
) -> None:
    AIProvider.objects.update(**change)
    answer = root.post(PATH, wanted(model))
    assert answer.status == 412
    assert expected in answer.message


@pytest.mark.parametrize(
    "change",
    [
        {"model": 1},
        {"enabled": "yes"},
        {"context_limit": "1000"},
        {"context_limit": 2**63},
        {"compression_threshold": 2**31},
        {"ai_provider_id": "x"},
        {"model_config": []},
        {"model_config": {"top_k": 1.5}},
        {"model_config": {"cost": {INPUT: "cheap"}}},
        {"model_config": {"provider_options": {"openai": {"metadata": {"n": 2**64}}}}},
        {"model_config": {"provider_options": {"openai": {"logit_bias": {"1": 0.5}}}}},
    ],
)
def test_a_wrong_type_is_bad_json(root: Api, model: ModelConfig, change: dict[str, Any]) -> None:
    assert bad_json(root.post(PATH, wanted(model, **change)))
    assert bad_json(root.patch(f"{PATH}/{model.pk}", change))


def test_what_is_nested_too_deeply_is_bad_json(root: Api, model: ModelConfig) -> None:
    deep: Any = 1
    for _ in range(120):
        deep = {"a": deep}
    options = {"provider_options": {"vercel": {"extra_body": {"deep": deep}}}}
    assert bad_json(root.post(PATH, wanted(model, model_config=options)))


@pytest.mark.parametrize(
    "change",
    [
        {"model": "m" * 257},
        {"display_name": "d" * 129},
        {"model": "a\u0000b"},
        {"model_config": {"cost": {INPUT: "1000000000000"}}},
        {"model_config": {"cost": {INPUT: "0.0000000000001"}}},
        {"model_config": {"cost": {INPUT: "1e9999"}}},
    ],
)
def test_what_cannot_be_stored_is_refused(
    root: Api, model: ModelConfig, change: dict[str, Any]
) -> None:
    answer = root.post(PATH, wanted(model, **change))
    assert (answer.status, answer.message) == (400, "Invalid model config.")


# Older clients name the kind of provider alone


def test_the_kind_of_a_provider_will_do_where_there_is_one(root: Api, model: ModelConfig) -> None:
    body = wanted(model, provider=" OpenAI-Compat ")
    del body["ai_provider_id"]
    assert root.post(PATH, body).body["ai_provider_id"] == str(model.ai_provider_id)


@pytest.mark.parametrize("provider", ["", "openai", "mystery", "openai-compat"])
def test_a_kind_that_none_or_several_are_of_is_no_choice(
    root: Api, model: ModelConfig, provider: str
) -> None:
    add_provider("second", "openai-compat")
    body = wanted(model, provider=provider, ai_provider_id=None)
    assert refusal(root.post(PATH, body)) == (400, "AI provider ID is required.", "")


def test_the_only_provider_of_a_kind_may_be_disabled(root: Api, model: ModelConfig) -> None:
    AIProvider.objects.update(enabled=False)
    body = wanted(model, provider="openai-compat", ai_provider_id=None)
    assert refusal(root.post(PATH, body)) == (412, "AI provider is disabled.", "")


# Change


def test_a_change_changes_what_is_given_alone(root: Api, model: ModelConfig) -> None:
    before = root.get(PATH).body[0]
    answer = root.patch(f"{PATH}/{model.pk}", {"context_limit": 5, "enabled": False})
    expected = before | {"context_limit": 5, "enabled": False}
    assert answer.body == expected | {"updated_at": answer.body["updated_at"]}
    assert answer.body["updated_at"] > before["updated_at"]


def test_blank_and_null_keep_what_is_there(root: Api, model: ModelConfig) -> None:
    body = created(root, model, display_name="Name", model_config={"top_k": 1})
    nothing = {"provider": " ", "model": "", "display_name": "  ", "ai_provider_id": NIL}
    nothing |= dict.fromkeys(["enabled", "is_default", "context_limit", "model_config"])
    answer = root.patch(f"{PATH}/{body['id']}", nothing)
    assert answer.body == body | {"updated_at": answer.body["updated_at"]}


def test_options_and_prices_are_replaced_as_a_whole(root: Api, model: ModelConfig) -> None:
    options = {"temperature": 1, "top_k": 2, "cost": {INPUT: "1", OUTPUT: "2"}}
    path = f"{PATH}/{created(root, model, model_config=options)['id']}"
    changed = root.patch(path, {"model_config": {"top_k": 3, "cost": {INPUT: "4"}}}).body
    assert changed["model_config"] == {"top_k": 3, "cost": {INPUT: "4"}}
    assert "model_config" not in root.patch(path, {"model_config": {}}).body


def test_a_config_moves_to_another_provider_and_takes_its_kind(
    root: Api, model: ModelConfig
) -> None:
    other = add_provider()
    answer = root.patch(f"{PATH}/{model.pk}", {"ai_provider_id": str(other.pk)})
    assert (answer.body["provider"], answer.body["ai_provider_id"]) == ("openai", str(other.pk))


def test_a_config_of_a_disabled_provider_can_be_changed(root: Api, model: ModelConfig) -> None:
    AIProvider.objects.update(enabled=False)
    assert root.patch(f"{PATH}/{model.pk}", {"provider": "OpenAI-Compat"}).status == 200


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"provider": "openai"}, (400, "AI provider ID is required when updating provider.", "")),
        ({"provider": "mystery"}, (400, "Invalid provider.", None)),
        ({"ai_provider_id": str(uuid4())}, (412, "AI provider is not configured.", "")),
        ({"context_limit": 0}, (400, "Context limit must be greater than zero.", "")),
        ({"compression_threshold": -1}, (400, "Invalid compression threshold.", None)),
        ({"model_config": {"cost": {INPUT: -1}}}, (400, "Invalid model config.", None)),
    ],
)
def test_a_change_is_refused_with_its_reason_and_recorded(
    root: Api, model: ModelConfig, change: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    status, message, detail = expected
    answer = root.patch(f"{PATH}/{model.pk}", {"model": "changed", **change})
    assert (answer.status, answer.message) == (status, message)
    assert detail is None or answer.detail == detail
    assert ModelConfig.objects.get().model == "fake-model"
    assert AuditEntry.objects.latest("pk").refused == message


def test_a_disabled_provider_is_no_place_to_move_to(root: Api, model: ModelConfig) -> None:
    other = add_provider(enabled=False)
    answer = root.patch(f"{PATH}/{model.pk}", {"ai_provider_id": str(other.pk)})
    assert refusal(answer) == (412, "AI provider is disabled.", "")


# Ids, rights


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_an_id_is_looked_at_after_the_rights(
    method: str, root: Api, alice: Api, model: ModelConfig
) -> None:
    malformed = root.call(method, f"{PATH}/nonsense", {})
    assert (malformed.status, malformed.message) == (400, "Invalid chat model config ID.")
    unknown = root.call(method, f"{PATH}/{uuid4()}", raw=b"{")
    assert (unknown.status, unknown.body) == (404, NOT_FOUND)
    for path in ("nonsense", uuid4(), model.pk):
        refused = alice.call(method, f"{PATH}/{path}", raw=b"{")
        assert (refused.status, refused.body) == (403, FORBIDDEN)


def test_the_rights_come_before_the_body(alice: Api, model: ModelConfig) -> None:
    answer = alice.post(PATH, raw=b"{")
    assert (answer.status, answer.body) == (403, FORBIDDEN)


def test_people_see_what_they_can_use_and_readers_of_the_settings_see_all(
    root: Api, alice: Api, model: ModelConfig
) -> None:
    off, gone = add_provider("off", enabled=False), add_provider("gone", deleted=True)
    for provider, name in ((off, "of-disabled"), (gone, "of-deleted")):
        save_model_config(ModelConfig(ai_provider=provider, model=name))
    save_model_config(ModelConfig(ai_provider=model.ai_provider, model="off", enabled=False))
    deleted = created(root, model, model="deleted")
    assert root.delete(f"{PATH}/{deleted['id']}").status == 204
    auditor = create_user(
        username="audit", email="a@x.example", password=None, site_roles=[SiteRole.AUDITOR]
    )

    def seen(api: Api) -> list[str]:
        return sorted(config["model"] for config in api.get(PATH).body)

    assert seen(alice) == ["fake-model"]
    assert seen(root) == seen(api_of(auditor)) == ["fake-model", "of-deleted", "of-disabled", "off"]


def test_the_list_is_in_order_and_its_cost_is_constant(root: Api, model: ModelConfig) -> None:
    provider = add_provider()

    def add(name: str, of: AIProvider | None) -> None:
        config = ModelConfig(ai_provider=of, model=name)
        save_model_config(config, prices=Prices(input=1))  # type: ignore[arg-type]

    for name in ("b", "a", "a"):
        add(name, provider)
    add("z", model.ai_provider)
    listed = root.get(PATH).body
    order = [(config["provider"], config["model"]) for config in listed]
    assert order == [
        ("openai", "a"),
        ("openai", "a"),
        ("openai", "b"),
        ("openai-compat", "fake-model"),
        ("openai-compat", "z"),
    ]
    assert listed[0]["updated_at"] > listed[1]["updated_at"]

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            root.get(PATH)
        return len(captured)

    before = queries()
    for number in range(20):
        add(f"m{number}", provider)
    assert queries() == before == 3


# The default


def test_the_first_config_becomes_the_default(root: Api, model: ModelConfig) -> None:
    assert root.delete(f"{PATH}/{model.pk}").status == 204
    assert defaults() == []
    assert created(root, model, is_default=False)["is_default"] is True


def test_a_new_default_takes_over_and_a_default_that_stops_hands_over(
    root: Api, model: ModelConfig
) -> None:
    second = created(root, model, model="a", is_default=True)
    created(root, model, model="b")
    assert defaults() == ["a"]
    stopped = root.patch(f"{PATH}/{second['id']}", {"is_default": False})
    assert stopped.body["is_default"] is False
    assert defaults() == ["b"]


def test_a_sole_config_stays_the_default(root: Api, model: ModelConfig) -> None:
    answer = root.patch(f"{PATH}/{model.pk}", {"is_default": False, "enabled": False})
    assert (answer.body["is_default"], answer.body["enabled"]) == (True, False)


def test_a_deleted_default_is_replaced_and_the_row_is_kept(root: Api, model: ModelConfig) -> None:
    created(root, model, model="b")
    created(root, model, model="a")
    assert root.delete(f"{PATH}/{model.pk}").status == 204
    assert defaults() == ["a"]
    assert ModelConfig.objects.get(pk=model.pk).deleted
    assert root.delete(f"{PATH}/{model.pk}").status == 404
    assert root.patch(f"{PATH}/{model.pk}", {}).status == 404


# Who hears of it


@pytest.mark.django_db(transaction=True)
def test_each_change_is_announced(
    root: Api, model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    backend = type("Backend", (), {"publish": staticmethod(heard.extend)})
    monkeypatch.setattr(announcing, "live_backend", lambda: backend)
    made = created(root, model)["id"]
    root.patch(f"{PATH}/{made}", {"enabled": False})
    root.delete(f"{PATH}/{made}")
    assert [(notice.kind, notice.entity_id) for notice in heard] == [
        ("model_config", UUID(made))
    ] * 3


def test_each_change_is_recorded_with_what_it_changed(root: Api, model: ModelConfig) -> None:
    made = created(root, model, model_config={"max_output_tokens": 7, "cost": {INPUT: "1.5"}})["id"]
    root.patch(f"{PATH}/{made}", {"enabled": False, "model_config": {"cost": {INPUT: "2"}}})
    root.patch(f"{PATH}/{made}", {"enabled": False})
    root.delete(f"{PATH}/{made}")
    create, change, delete = AuditEntry.objects.filter(resource_id=made).order_by("pk")
    assert [(entry.action, entry.actor_name) for entry in (create, change, delete)] == [
        (Action.CREATE, "root"),
        (Action.WRITE, "root"),
        (Action.DELETE, "root"),
    ]
    assert create.changes["options"]["new"] == {"max_output_tokens": 7}
    assert create.changes["price"]["new"]["input"] == "1.5"
    assert set(change.changes) == {"enabled", "options", "price"}
    assert change.changes["price"]["old"]["input"] == "1.5"
    assert change.changes["price"]["new"]["input"] == "2"
    assert delete.changes["model"] == {"old": "new", "new": None}


# Suggested prices


def test_known_prices_are_suggested_to_administrators(root: Api, alice: Api) -> None:
    path = f"{PATH}/suggested-prices?provider=openai&model=gpt-4o-mini"
    body = root.get(path).body
    assert (body["provider"], body["model"], body["known_as"]) == ("openai", *["gpt-4o-mini"] * 2)
    assert body["cost"].keys() >= {INPUT, OUTPUT}
    assert body["context_limit"] == 128_000
    assert alice.get(path).body == FORBIDDEN


def test_nothing_is_suggested_for_what_is_unknown(root: Api) -> None:
    answer = root.get(f"{PATH}/suggested-prices?provider=openai-compat&model=gpt-4o")
    assert answer.body == {"provider": "openai-compat", "model": "gpt-4o"}


@pytest.mark.parametrize("query", ["", "provider=openai", "model=x", "provider=&model=x"])
def test_a_suggestion_needs_both_parameters(root: Api, query: str) -> None:
    answer = root.get(f"{PATH}/suggested-prices?{query}")
    assert (answer.status, answer.message) == (400, "Query parameters have invalid values.")
    assert len(answer.body["validations"]) == 1
