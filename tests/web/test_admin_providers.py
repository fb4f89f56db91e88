"""The administration of providers: tried out before saving, deleted, run on AWS."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from chatd.audit.models import AuditEntry
from chatd.providers.bedrock import open_settings
from chatd.providers.models import AIProvider, AIProviderKey
from tests.api.test_ai_provider_test import ModelsServer, refused
from tests.conftest import Cast
from tests.web.administration import PROVIDER, SECRET

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client, cast: Cast) -> Client:
    client.force_login(cast.root)
    return client


@pytest.fixture
def vendor() -> Iterator[ModelsServer]:
    with ModelsServer() as server:
        yield server


def _try(root: Client, vendor: ModelsServer, path: str = "add/", **form: Any) -> Any:
    asked = PROVIDER | {"base_url": vendor.url, "_test": "1", **form}
    return root.post(
        f"/admin/providers/aiprovider/{path}", asked, headers={"Accept": "application/json"}
    )


@pytest.mark.django_db(transaction=True)
def test_a_provider_is_tried_out_before_it_is_saved(root: Client, vendor: ModelsServer) -> None:
    assert _try(root, vendor).json() == {
        "ok": True,
        "detail": "Team gateway answered and offers 2 models.",
    }
    assert vendor.asked[0]["Authorization"] == f"Bearer {SECRET}"
    assert not AIProvider.objects.exists()
    vendor.answer = refused(401, {"error": {"message": "Incorrect API key provided."}})
    told = _try(root, vendor).json()
    assert not told["ok"]
    assert "Incorrect API key" in told["detail"]
    assert SECRET not in str(told)


@pytest.mark.django_db(transaction=True)
def test_without_scripts_the_form_comes_back_with_the_outcome_and_without_the_key(
    root: Client, vendor: ModelsServer
) -> None:
    form = PROVIDER | {"base_url": vendor.url, "_test": "1"}
    page = root.post("/admin/providers/aiprovider/add/", form).content.decode()
    assert "answered and offers 2 models." in page
    assert "Nothing is saved yet." in page
    assert vendor.url in page
    assert SECRET not in page
    assert not AIProvider.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_stored_key_goes_only_where_it_is_stored_for(root: Client, vendor: ModelsServer) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER | {"base_url": vendor.url})
    provider = AIProvider.objects.get()
    change = f"{provider.pk}/change/"
    kept = {"keep_keys": [str(AIProviderKey.objects.get().pk)], "new_key": ""}
    assert _try(root, vendor, change, **kept).json()["ok"]
    assert vendor.asked[-1]["Authorization"] == f"Bearer {SECRET}"
    with ModelsServer() as elsewhere:
        assert _try(root, elsewhere, change, **kept).json()["ok"]
        assert "Authorization" not in elsewhere.asked[-1]
    assert AIProvider.objects.get().base_url == vendor.url


def test_what_is_wrong_with_the_form_is_told_before_anything_is_asked(
    root: Client, vendor: ModelsServer
) -> None:
    told = _try(root, vendor, name="Not A Name").json()
    assert not told["ok"]
    assert "Name" in told["detail"]
    assert vendor.asked == []


def test_a_provider_is_deleted_softly_and_its_name_is_free_again(root: Client) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    provider = AIProvider.objects.get()
    delete = f"/admin/providers/aiprovider/{provider.pk}/delete/"
    assert root.get(delete).status_code == 200
    assert root.post(delete, {"post": "yes"}).status_code == 302
    assert AIProvider.objects.get().deleted
    assert AuditEntry.objects.filter(action="delete", resource_type="ai_provider").count() == 1
    assert root.post("/admin/providers/aiprovider/add/", PROVIDER).status_code == 302


def test_bedrock_is_entered_with_credentials_that_are_never_shown(root: Client) -> None:
    form = {
        "type": "bedrock",
        "name": "aws",
        "base_url": "https://bedrock-runtime.eu-central-1.amazonaws.com",
        "enabled": "on",
        "central_api_key_enabled": "on",
        "region": "eu-central-1",
        "access_key": "AKIA-OF-THE-TESTS",
        "access_key_secret": SECRET,
    }
    assert root.post("/admin/providers/aiprovider/add/", form).status_code == 302
    provider = AIProvider.objects.get()
    stored = open_settings(provider)
    assert stored is not None
    assert (stored.region, stored.access_key_secret) == ("eu-central-1", SECRET)
    change = f"/admin/providers/aiprovider/{provider.pk}/change/"
    page = root.get(change).content.decode()
    assert "eu-central-1" in page
    assert SECRET not in page
    assert "AKIA-OF-THE-TESTS" not in page
    kept = form | {"access_key": "", "access_key_secret": "", "region": "us-east-1"}
    assert root.post(change, kept).status_code == 302
    stored = open_settings(AIProvider.objects.get())
    assert stored is not None
    assert (stored.region, stored.access_key_secret) == ("us-east-1", SECRET)
    assert root.post(change, kept | {"forget_credentials": "on"}).status_code == 302
    stored = open_settings(AIProvider.objects.get())
    assert stored is not None
    assert (stored.access_key, stored.access_key_secret) == ("", "")
