"""Idempotency-Key: the same write twice is done once; another one under the same key is refused."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from chatd.api.idempotency import KEPT, purge_stored_answers
from chatd.api.models import StoredAnswer
from chatd.api.tasks import PURGE_TASK, purge
from chatd.chats.models import Chat, ChatFile, ChatMessage
from chatd.core.clock import now
from config.celery import app
from tests.api.client import Api, Chats, api_of, rows, text_part
from tests.conftest import Cast

KEY = {"Idempotency-Key": "2f6c1d34-0001"}
CONTENT = {"content": [text_part("once")]}


def test_a_message_sent_twice_is_stored_once_and_answered_the_same(
    alice: Api, chats: Chats
) -> None:
    path = f"/chats/{chats.pending().pk}/messages"
    first = alice.post(path, CONTENT, headers=KEY)
    before = rows()
    again = alice.post(path, CONTENT, headers=KEY)
    assert (again.status, again.raw) == (first.status, first.raw) == (200, first.raw)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert rows() == before


def test_a_chat_created_twice_is_one_chat(alice: Api, chats: Chats, cast: Cast) -> None:
    body = {**CONTENT, "organization_id": str(cast.organization.pk)}
    first = alice.post("/chats", body, headers=KEY)
    again = alice.post("/chats", body, headers=KEY)
    assert first.status == again.status == 201
    assert first.body["id"] == again.body["id"]
    assert Chat.objects.count() == 1


def test_an_answer_without_a_body_is_replayed_without_one(alice: Api, chats: Chats) -> None:
    path = f"/chats/{chats.pending().pk}"
    assert alice.patch(path, {"labels": {"a": "b"}}, headers=KEY).status == 204
    assert alice.patch(path, {"labels": {"a": "b"}}, headers=KEY).status == 204


def test_another_body_another_route_or_another_method_under_the_key_is_409(
    alice: Api, chats: Chats
) -> None:
    path = f"/chats/{chats.pending().pk}/messages"
    alice.post(path, CONTENT, headers=KEY)
    before = rows()
    other = alice.post(path, {"content": [text_part("other")]}, headers=KEY)
    assert other.status == 409
    assert "resets_at" not in other.body
    assert alice.post("/chats", CONTENT, headers=KEY).status == 409
    assert rows() == before


def test_keys_of_two_people_do_not_meet(alice: Api, root: Api, chats: Chats, cast: Cast) -> None:
    body = {**CONTENT, "organization_id": str(cast.organization.pk)}
    first = alice.post("/chats", body, headers=KEY).body["id"]
    assert root.post("/chats", body, headers=KEY).body["id"] != first


def test_a_refused_write_leaves_the_key_free(alice: Api, chats: Chats) -> None:
    path = f"/chats/{chats.pending().pk}/messages"
    assert alice.post(path, {"content": []}, headers=KEY).status == 400
    assert not StoredAnswer.objects.exists()
    assert alice.post(path, CONTENT, headers=KEY).status == 200


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "é"])
def test_a_malformed_key_is_refused_before_anything_is_written(
    alice: Api, chats: Chats, key: str
) -> None:
    path = f"/chats/{chats.pending().pk}/messages"
    before = rows()
    assert alice.post(path, CONTENT, headers={"Idempotency-Key": key}).status == 400
    assert rows() == before


def test_nobody_cannot_use_up_a_key(chats: Chats) -> None:
    assert Api().post("/chats", CONTENT, headers=KEY).status == 401
    assert not StoredAnswer.objects.exists()


def test_an_upload_sent_twice_is_one_file(alice: Api, cast: Cast) -> None:
    def upload() -> Any:
        return alice.call(
            "POST",
            f"/chats/files?organization={cast.organization.pk}",
            raw=b"hello",
            content_type="text/plain",
            headers={**KEY, "Content-Disposition": 'attachment; filename="a.txt"'},
        )

    assert upload().body == upload().body
    assert ChatFile.objects.count() == 1


def test_a_read_ignores_the_key(alice: Api, chats: Chats) -> None:
    assert alice.get("/chats", headers=KEY).status == 200
    assert not StoredAnswer.objects.exists()


def test_an_answer_is_kept_for_a_day(alice: Api, chats: Chats) -> None:
    path = f"/chats/{chats.pending().pk}/messages"
    alice.post(path, CONTENT, headers=KEY)
    StoredAnswer.objects.update(created_at=now() - KEPT + timedelta(minutes=1))
    assert purge_stored_answers() == 0
    StoredAnswer.objects.update(created_at=now() - KEPT - timedelta(minutes=1))
    count = ChatMessage.objects.count()
    alice.post(path, CONTENT, headers=KEY)
    assert StoredAnswer.objects.count() == 1
    assert rows()[2] == 2, "the key was forgotten, so the message was queued once more"
    assert ChatMessage.objects.count() == count


@pytest.mark.django_db(transaction=True)
def test_of_two_requests_at_once_one_writes_and_both_get_its_answer(
    cast: Cast, chats: Chats
) -> None:
    path = f"/chats/{chats.pending().pk}/messages"
    apis = [api_of(cast.alice), api_of(cast.alice)]
    answers: list[Any] = []
    together = threading.Barrier(2)

    def send(api: Api) -> None:
        together.wait()
        try:
            answers.append(api.post(path, CONTENT, headers=KEY))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send, args=(api,)) for api in apis]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].raw == answers[1].raw
    assert rows()[2] == 1


def test_the_periodic_job_that_forgets_answers_is_scheduled_and_known(db: None) -> None:
    assert app.conf.beat_schedule["stored-answers"]["task"] == PURGE_TASK
    app.loader.import_default_modules()
    assert PURGE_TASK in app.tasks
    purge()
