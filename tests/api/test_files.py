"""Files: upload by content, download with safe headers, links to chats, warnings."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from chatd.chats.media import ALLOWED_TYPES, MAX_FILE_BYTES
from chatd.chats.models import Chat, ChatFile, ChatFileLink
from tests.api.client import API, HEADER, NIL, Api, Chats, api_of
from tests.conftest import Cast
from tests.support.people import token_for

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
SVG = b'<?xml version="1.0"?><!-- x --><svg xmlns="http://www.w3.org/2000/svg"></svg>'

SAFE = [
    "Content-Type",
    "Content-Length",
    "Content-Disposition",
    "Cache-Control",
    "X-Content-Type-Options",
    "Content-Security-Policy",
]


def upload(
    api: Api,
    cast: Cast,
    body: bytes = PNG,
    *,
    name: str = "picture.png",
    declared: str | None = "image/png",
    organization: str | None = None,
    disposition: str | None = None,
) -> Any:
    shown = f'attachment; filename="{name}"' if disposition is None else disposition
    wanted = str(cast.organization.pk) if organization is None else organization
    return api.call(
        "POST",
        f"/chats/files?organization={wanted}",
        raw=body,
        content_type=declared,
        headers={"Content-Disposition": shown} if shown else {},
    )


@pytest.fixture
def file_id(alice: Api, cast: Cast) -> str:
    return str(upload(alice, cast).body["id"])


def make_files(cast: Cast, count: int) -> list[str]:
    """Store files of alice; return their ids."""
    columns = {"mimetype": "image/png", "data": PNG, "organization": cast.organization}
    made = ChatFile.objects.bulk_create(
        ChatFile(owner=cast.alice, name=f"{number}.png", **columns) for number in range(count)
    )
    return [str(file.pk) for file in made]


def download(cast: Cast, file_id: str, user: Any = None) -> Any:
    token = token_for(user or cast.alice)
    return Client().get(f"{API}/chats/files/{file_id}", headers={HEADER: token})


def file_part(file_id: str) -> dict[str, str]:
    return {"type": "file", "file_id": file_id}


def test_an_upload_answers_201_with_the_id_and_the_bytes_come_back(alice: Api, cast: Cast) -> None:
    answer = upload(alice, cast)
    assert answer.status == 201
    assert set(answer.body) == {"id"}
    found = download(cast, answer.body["id"])
    assert found.status_code == 200
    assert found.content == PNG
    assert found["Content-Type"] == "image/png"
    assert found["Content-Length"] == str(len(PNG))
    assert found["Content-Disposition"] == 'inline; filename="picture.png"'
    assert found["Cache-Control"] == "private, max-age=31536000, immutable"
    assert found["X-Content-Type-Options"] == "nosniff"


def test_checks_come_in_order(alice: Api, cast: Cast) -> None:
    bad = {"body": SVG, "name": "", "declared": "video/mp4"}
    assert upload(alice, cast, **bad, organization="").message == (  # type: ignore[arg-type]
        "Missing organization query parameter."
    )
    assert upload(alice, cast, **bad, organization="x").message == (  # type: ignore[arg-type]
        "Invalid organization ID."
    )
    answer = upload(alice, cast, **bad, organization=str(uuid4()))  # type: ignore[arg-type]
    assert (answer.status, answer.message) == (403, "Forbidden.")
    answer = upload(alice, cast, **bad)  # type: ignore[arg-type]
    assert (answer.status, answer.message) == (400, "Unsupported file type.")
    assert answer.detail == f"Allowed types: {', '.join(sorted(ALLOWED_TYPES))}"
    answer = upload(alice, cast, SVG, name="", disposition="")
    assert (answer.status, answer.message) == (400, "Filename is required.")
    assert upload(alice, cast, SVG, name="a.png").message == "Unsupported file type."
    answer = upload(alice, cast, PNG, declared="image/gif")
    assert answer.message == "File content type does not match Content-Type header."
    assert answer.detail == (
        'Header declared "image/gif" but file content was detected as "image/png".'
    )
    assert not ChatFile.objects.exists()


def test_a_file_of_the_largest_size_passes_and_one_byte_more_is_413(alice: Api, cast: Cast) -> None:
    largest = PNG + b"\0" * (MAX_FILE_BYTES - len(PNG))
    assert upload(alice, cast, largest).status == 201
    answer = upload(alice, cast, largest + b"\0")
    assert (answer.status, answer.message) == (413, "File too large.")
    assert answer.detail == f"Maximum file size is {MAX_FILE_BYTES} bytes."
    assert ChatFile.objects.count() == 1


@pytest.mark.parametrize("who", ["admin", "root"])
def test_administrators_may_read_a_file_and_send_it(
    who: str, cast: Cast, file_id: str, chats: Chats, request: pytest.FixtureRequest
) -> None:
    api = request.getfixturevalue(who)
    user = {"admin": cast.bob, "root": cast.root}[who]
    assert download(cast, file_id, user).status_code == 200
    body = {"organization_id": str(cast.organization.pk), "content": [file_part(file_id)]}
    assert api.post("/chats", body).body["files"][0]["id"] == file_id


@pytest.mark.parametrize("linked", [False, True])
def test_what_may_be_read_may_be_sent_and_nothing_else(
    alice: Api, cast: Cast, file_id: str, chats: Chats, linked: bool
) -> None:
    if linked:
        chat = chats.waiting()
        ChatFileLink.objects.create(chat=chat, file_id=file_id)
        body = {"user_roles": {str(cast.bob.pk): "read"}}
        assert alice.patch(f"/chats/{chat.pk}/acl", body).status == 204
    for user, may in ((cast.alice, True), (cast.bob, linked), (cast.carol, False)):
        assert download(cast, file_id, user).status_code == (200 if may else 404)
        answer = api_of(user).post("/chats", {"content": [file_part(file_id)]})
        assert answer.status == (201 if may else 400)


@pytest.mark.parametrize(
    ("disposition", "stored"),
    [
        ('attachment; filename="a\tb.png"', "ab.png"),
        ('attachment; filename="../../etc/x.png"', "x.png"),
        ("attachment; filename*=utf-8''%E2%82%AC.png", "€.png"),
        (f'attachment; filename="{"n" * 300}"', "n" * 255),
    ],
)
def test_names_are_cleaned(alice: Api, cast: Cast, disposition: str, stored: str) -> None:
    assert upload(alice, cast, disposition=disposition).status == 201
    assert ChatFile.objects.get().name == stored


def test_a_name_outside_ascii_round_trips_in_the_download_header(alice: Api, cast: Cast) -> None:
    answer = upload(alice, cast, disposition="attachment; filename*=utf-8''%E2%82%AC%22.png")
    assert download(cast, answer.body["id"])["Content-Disposition"] == (
        "inline; filename*=utf-8''%E2%82%AC%22.png"
    )


@pytest.mark.parametrize("mimetype", [*ALLOWED_TYPES, "video/mp4", "image/svg+xml", "text/html"])
def test_a_download_is_shown_only_for_types_that_cannot_harm_and_nothing_in_it_runs(
    cast: Cast, mimetype: str
) -> None:
    columns = {"owner": cast.alice, "organization": cast.organization, "data": b"x"}
    file = ChatFile.objects.create(name="a b.x", mimetype=mimetype, **columns)
    found = download(cast, str(file.pk))
    shown = mimetype in ALLOWED_TYPES and mimetype != "application/pdf"
    kind = "inline" if shown else "attachment"
    assert {name: found[name] for name in SAFE} == {
        "Content-Type": mimetype,
        "Content-Length": "1",
        "Content-Disposition": f'{kind}; filename="a b.x"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


@pytest.mark.parametrize("declared", [*ALLOWED_TYPES, "application/octet-stream", None])
@pytest.mark.parametrize("name", ["a.svg", "a.png", "a.json", "a.md", "a", "a.svg.txt"])
def test_an_svg_is_refused_whatever_it_calls_itself(
    alice: Api, cast: Cast, declared: str | None, name: str
) -> None:
    answer = upload(alice, cast, SVG, name=name, declared=declared)
    assert (answer.status, answer.message) == (400, "Unsupported file type.")
    assert not ChatFile.objects.exists()


def test_a_message_that_file_names_make_too_large_for_a_frame_is_refused(
    alice: Api, cast: Cast, chats: Chats
) -> None:
    name = {"disposition": f'attachment; filename="{"n" * 255}"'}
    file_id = str(upload(alice, cast, **name).body["id"])
    chat = chats.waiting()
    body = {"content": [file_part(file_id)] * 12_000}
    answer = alice.post(f"/chats/{chat.pk}/messages", body)
    assert (answer.status, answer.message) == (400, "The message is too large.")
    assert not ChatFileLink.objects.exists()


def test_who_may_not_read_the_file_gets_404_and_a_bad_id_400(
    alice: Api, bob: Api, carol: Api, cast: Cast, file_id: str
) -> None:
    assert alice.get("/chats/files/nonsense").message == "Invalid file ID."
    assert alice.get(f"/chats/files/{uuid4()}").status == 404
    assert bob.get(f"/chats/files/{file_id}").status == 404
    assert carol.get(f"/chats/files/{file_id}").status == 404
    assert Api().get(f"/chats/files/{file_id}").status == 401
    assert download(cast, file_id, cast.root).status_code == 200


def test_a_reader_of_a_chat_may_read_its_files_until_the_share_ends(
    alice: Api, cast: Cast, file_id: str, chats: Chats
) -> None:
    body = {"organization_id": str(cast.organization.pk), "content": [file_part(file_id)]}
    chat = alice.post("/chats", body).body
    share = {"user_roles": {str(cast.carol.pk): "read"}}
    assert alice.patch(f"/chats/{chat['id']}/acl", share).status == 204
    assert download(cast, file_id, cast.carol).status_code == 200
    share["user_roles"][str(cast.carol.pk)] = ""
    assert alice.patch(f"/chats/{chat['id']}/acl", share).status == 204
    assert download(cast, file_id, cast.carol).status_code == 404


def test_a_chat_shows_its_files_on_create_and_get_but_not_in_lists(
    alice: Api, cast: Cast, file_id: str, chats: Chats
) -> None:
    body = {"organization_id": str(cast.organization.pk), "content": [file_part(file_id)]}
    created = alice.post("/chats", body).body
    (shown,) = created["files"]
    assert {key: shown[key] for key in ("id", "name", "mime_type", "owner_id")} == {
        "id": file_id,
        "name": "picture.png",
        "mime_type": "image/png",
        "owner_id": str(cast.alice.pk),
    }
    assert alice.get(f"/chats/{created['id']}").body["files"] == created["files"]
    assert "files" not in alice.get("/chats").body[0]
    (message,) = alice.get(f"/chats/{created['id']}/messages").body["messages"]
    assert message["content"] == [
        {"type": "file", "media_type": "image/png", "name": "picture.png", "file_id": file_id}
    ]


def test_a_file_that_is_unknown_or_of_somebody_else_is_refused(
    alice: Api, bob: Api, cast: Cast, chats: Chats
) -> None:
    theirs = upload(bob, cast).body["id"]
    for unusable in (theirs, str(uuid4())):
        body = {"organization_id": str(cast.organization.pk), "content": [file_part(unusable)]}
        answer = alice.post("/chats", body)
        assert answer.status == 400
        assert answer.detail == "content[0].file_id references a file that does not exist."
    body["content"] = [file_part(NIL)]
    assert alice.post("/chats", body).detail == "content[0].file_id is required for file parts."


def test_over_fifty_files_nothing_of_the_request_is_linked_and_a_warning_says_so(
    alice: Api, cast: Cast, chats: Chats
) -> None:
    chat = chats.pending()
    ids = make_files(cast, 51)
    first = [file_part(i) for i in ids[:50]]
    answer = alice.post(f"/chats/{chat.pk}/messages", {"content": first})
    assert "warnings" not in answer.body
    assert ChatFileLink.objects.filter(chat=chat).count() == 50
    last = [file_part(ids[50]), file_part(ids[0])]
    answer = alice.post(f"/chats/{chat.pk}/messages", {"content": last})
    assert answer.status == 200
    assert answer.body["warnings"] == [
        "file linking skipped: batch of 2 file(s) would exceed limit of 50"
    ]
    assert ChatFileLink.objects.filter(chat=chat).count() == 50


def test_a_new_chat_with_more_than_fifty_files_is_made_and_none_is_linked(
    alice: Api, cast: Cast, chats: Chats
) -> None:
    ids = make_files(cast, 51)
    body = {"organization_id": str(cast.organization.pk), "content": [file_part(i) for i in ids]}
    created = alice.post("/chats", body)
    assert created.status == 201
    assert created.body["warnings"] == [
        "file linking skipped: batch of 51 file(s) would exceed limit of 50"
    ]
    assert "files" not in created.body
    (message,) = alice.get(f"/chats/{created.body['id']}/messages").body["messages"]
    assert [part["file_id"] for part in message["content"]] == ids
    assert not ChatFileLink.objects.exists()


def test_thousands_of_unknown_files_break_nothing(alice: Api, chats: Chats) -> None:
    chat = chats.waiting()
    body = {"content": [file_part(str(uuid4())) for _ in range(15_000)]}
    answer = alice.post(f"/chats/{chat.pk}/messages", body)
    assert answer.detail == "content[0].file_id references a file that does not exist."


def test_files_that_are_linked_already_do_not_count_again(
    alice: Api, cast: Cast, chats: Chats
) -> None:
    chat = chats.pending()
    ids = make_files(cast, 50)
    for content in (ids, ids, [*ids, ids[0]]):
        body = {"content": [file_part(i) for i in content]}
        answer = alice.post(f"/chats/{chat.pk}/messages", body)
        assert (answer.status, "warnings" in answer.body) == (200, False)
    assert ChatFileLink.objects.filter(chat=chat).count() == 50


def test_a_file_named_twice_is_linked_once(
    alice: Api, cast: Cast, file_id: str, chats: Chats
) -> None:
    body = {"organization_id": str(cast.organization.pk), "content": [file_part(file_id)] * 2}
    chat_id = alice.post("/chats", body).body["id"]
    assert ChatFileLink.objects.filter(chat_id=UUID(chat_id)).count() == 1


def test_editing_links_the_files_of_the_new_message(
    alice: Api, cast: Cast, file_id: str, chats: Chats
) -> None:
    chat: Chat = chats.pending()
    (message,) = alice.get(f"/chats/{chat.pk}/messages").body["messages"]
    answer = alice.patch(
        f"/chats/{chat.pk}/messages/{message['id']}", {"content": [file_part(file_id)]}
    )
    assert answer.status == 200
    assert ChatFileLink.objects.filter(chat=chat, file_id=file_id).exists()
