"""What people do with a chat beside writing: pin, archive, share it, and write a message anew."""

from collections.abc import Callable

import pytest
from django.http import HttpResponse
from django.test import Client

from chatd.accounts.models import Group, OrganizationMember, OrganizationRole, User
from chatd.chats.models import Chat, ChatFile, Role
from tests.conftest import Cast
from tests.web.conftest import add_message, browser_of, text

NewChat = Callable[..., Chat]


def html_of(response: HttpResponse, status: int = 200) -> str:
    assert response.status_code == status
    return response.content.decode()


def fresh(chat: Chat) -> Chat:
    return Chat.objects.get(pk=chat.pk)


def user_texts(chat: Chat) -> list[str]:
    rows = chat.messages.filter(role=Role.USER, deleted=False).order_by("id")
    return [row.content[0]["text"] for row in rows]


# pin and archive


@pytest.mark.parametrize(
    ("change", "column", "before", "after"),
    [
        ("pin", "pin_order", 0, 1),
        ("unpin", "pin_order", 1, 0),
        ("archive", "archived", False, True),
    ],
)
def test_a_chat_is_changed_by_its_menu(
    page: Client, new_chat: NewChat, change: str, column: str, before: object, after: object
) -> None:
    chat = new_chat(status="waiting", **{column: before})
    assert f'value="{change}"' in html_of(page.get(f"/chats/{chat.pk}"))
    response = page.post(f"/chats/{chat.pk}/change", {"change": change})
    assert response["Location"] == f"/chats/{chat.pk}#latest"
    assert getattr(fresh(chat), column) == after


def test_an_archived_chat_is_in_a_list_of_its_own_until_it_is_taken_out(
    page: Client, new_chat: NewChat
) -> None:
    chat = new_chat(status="waiting", title="Put away")
    page.post(f"/chats/{chat.pk}/change", {"change": "archive"})
    assert "Put away" not in html_of(page.get("/chats"))
    listed = html_of(page.get("/chats?archived"))
    assert "Put away" in listed
    assert 'data-live="no"' in listed
    assert 'value="pin"' not in html_of(page.get(f"/chats/{chat.pk}"))
    page.post(f"/chats/{chat.pk}/change", {"change": "unarchive"})
    assert "Put away" in html_of(page.get("/chats"))
    assert "There are no archived chats." in html_of(page.get("/chats?archived"))


def test_archived_chats_can_be_searched(page: Client, new_chat: NewChat) -> None:
    chat = new_chat("the lost umbrella", status="waiting")
    page.post(f"/chats/{chat.pk}/change", {"change": "archive"})
    assert "No chat has all" in html_of(page.get("/chats?q=umbrella"))
    assert "<mark>umbrella</mark>" in html_of(page.get("/chats?q=umbrella&archived="))


def test_a_pinned_chat_says_so_in_the_list(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting")
    assert "Pinned</span>" not in html_of(page.get("/chats"))
    page.post(f"/chats/{chat.pk}/change", {"change": "pin"})
    assert "Pinned</span>" in html_of(page.get("/chats"))


def test_what_cannot_be_done_is_refused_in_a_sentence(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting")
    html = html_of(page.post(f"/chats/{chat.pk}/change", {"change": "explode"}), 400)
    assert "This cannot be done with a chat." in html
    page.post(f"/chats/{chat.pk}/change", {"change": "archive"})
    html = html_of(page.post(f"/chats/{chat.pk}/change", {"change": "archive"}), 400)
    assert "Chat is already archived." in html


# edit


def test_a_message_of_ones_own_can_be_edited(page: Client, new_chat: NewChat) -> None:
    chat = new_chat("Frist question", status="waiting")
    first = chat.messages.get(role=Role.USER)
    add_message(chat, text("An answer"))
    link = f"/chats/{chat.pk}/messages/{first.pk}/edit"
    assert f'href="{link}"' in html_of(page.get(f"/chats/{chat.pk}"))
    html = html_of(page.get(link))
    assert "Frist question</textarea>" in html
    assert "The 1 message after it will be removed" in html
    response = page.post(link, {"text": "First\r\nquestion"})
    assert response["Location"] == f"/chats/{chat.pk}#latest"
    assert user_texts(chat) == ["First\nquestion"]
    assert fresh(chat).status == "pending"
    assert not chat.messages.filter(role=Role.ASSISTANT, deleted=False).exists()


def test_what_is_attached_stays(page: Client, new_chat: NewChat, alice: User) -> None:
    chat = new_chat(status="waiting")
    file = ChatFile.objects.create(
        owner=alice, organization=chat.organization, name="a.txt", mimetype="text/plain", data=b"x"
    )
    attached = {
        "type": "file",
        "file_id": str(file.pk),
        "media_type": "text/plain",
        "name": "a.txt",
    }
    quoted = {
        "type": "file-reference",
        "file_name": "b.py",
        "start_line": 1,
        "end_line": 2,
        "content": "pass",
    }
    message = add_message(chat, text("Look"), attached, quoted, role=Role.USER)
    link = f"/chats/{chat.pk}/messages/{message.pk}/edit"
    assert "It keeps what is attached: a.txt, b.py." in html_of(page.get(link))
    page.post(link, {"text": "Look again"})
    newest = chat.messages.filter(role=Role.USER, deleted=False).latest("id")
    assert [part["type"] for part in newest.content] == ["text", "file", "file-reference"]
    assert newest.content[1]["file_id"] == str(file.pk)
    assert newest.content[2]["content"] == "pass"


def test_a_refused_edit_keeps_what_was_typed(page: Client, new_chat: NewChat) -> None:
    chat = new_chat(status="waiting")
    first = chat.messages.get(role=Role.USER)
    link = f"/chats/{chat.pk}/messages/{first.pk}/edit"
    assert "Write a message first." in html_of(page.post(link, {"text": "  "}), 400)
    page.post(f"/chats/{chat.pk}/change", {"change": "archive"})
    html = html_of(page.post(link, {"text": "Too late"}), 400)
    assert "Cannot edit messages in an archived chat." in html
    assert "Too late</textarea>" in html


def test_only_ones_own_words_have_an_edit_link(page: Client, new_chat: NewChat, cast: Cast) -> None:
    chat = new_chat(status="waiting")
    answer = add_message(chat, text("An answer"))
    assert html_of(page.get(f"/chats/{chat.pk}")).count('class="edit-link"') == 1
    assert page.get(f"/chats/{chat.pk}/messages/{answer.pk}/edit").status_code == 404
    first = chat.messages.get(role=Role.USER)
    assert 'class="edit-link"' in html_of(page.get(f"/chats/{chat.pk}/messages/{first.pk}"))
    OrganizationMember.objects.filter(user=cast.bob).update(roles=[OrganizationRole.ADMIN.value])
    admin = browser_of(cast.bob)
    assert 'class="edit-link"' not in html_of(admin.get(f"/chats/{chat.pk}"))
    assert 'class="edit-link"' not in html_of(admin.get(f"/chats/{chat.pk}/messages/{first.pk}"))
    assert admin.get(f"/chats/{chat.pk}/messages/{first.pk}/edit").status_code == 403


# share


def share(page: Client, chat: Chat, **posted: str) -> HttpResponse:
    return page.post(f"/chats/{chat.pk}/share", posted)


def test_a_chat_is_private_until_it_is_shared_and_says_so(
    page: Client, new_chat: NewChat, cast: Cast
) -> None:
    chat = new_chat(status="waiting")
    assert "Nobody else can" in html_of(page.get(f"/chats/{chat.pk}/share"))
    assert "Others can read this chat" not in html_of(page.get(f"/chats/{chat.pk}"))
    assert browser_of(cast.carol).get(f"/chats/{chat.pk}").status_code == 404
    response = share(page, chat, person=" CAROL@example.com ")
    assert response["Location"] == f"/chats/{chat.pk}/share"
    html = html_of(page.get(f"/chats/{chat.pk}/share"))
    assert "Nobody else can" not in html
    assert "carol" in html
    assert "Others can read this chat" in html_of(page.get(f"/chats/{chat.pk}"))
    read = html_of(browser_of(cast.carol).get(f"/chats/{chat.pk}"))
    assert "You are reading along." in read
    assert 'id="chat-menu"' not in read
    share(page, chat, user=str(cast.carol.pk), remove="yes")
    assert browser_of(cast.carol).get(f"/chats/{chat.pk}").status_code == 404


def test_groups_of_the_organisation_can_be_added_and_removed(
    page: Client, new_chat: NewChat, cast: Cast
) -> None:
    chat = new_chat(status="waiting")
    Group.objects.create(organization=cast.organization, name="designers")
    html = html_of(page.get(f"/chats/{chat.pk}/share"))
    assert html.index("Everyone in Default") < html.index(">designers<")
    share(page, chat, group=str(cast.organization.pk))
    assert browser_of(cast.bob).get(f"/chats/{chat.pk}").status_code == 200
    html = html_of(page.get(f"/chats/{chat.pk}/share"))
    assert html.count("Everyone in Default") == 1, "what is there cannot be added"
    share(page, chat, group=str(cast.organization.pk), remove="yes")
    assert browser_of(cast.bob).get(f"/chats/{chat.pk}").status_code == 404


@pytest.mark.parametrize("name", ["", "nobody", "%", "alice "])
def test_a_name_that_does_not_fit_is_refused_and_kept(
    page: Client, new_chat: NewChat, name: str
) -> None:
    chat = new_chat(status="waiting")
    html = html_of(share(page, chat, person=name), 400)
    expected = (
        "Cannot change your own chat sharing role."
        if name.strip() == "alice"
        else "There is nobody with this name."
    )
    assert expected in html
    assert f'value="{name}"' in html
    assert not fresh(chat).user_acl


def test_readers_see_who_else_reads_but_change_nothing(
    page: Client, new_chat: NewChat, cast: Cast
) -> None:
    chat = new_chat(status="waiting")
    share(page, chat, person="carol")
    carol = browser_of(cast.carol)
    html = html_of(carol.get(f"/chats/{chat.pk}/share"))
    assert "<form" not in html.partition("<h1>")[2]
    assert carol.post(f"/chats/{chat.pk}/share", {"person": "bob"}).status_code == 403
    assert list(fresh(chat).user_acl) == [str(cast.carol.pk)]


@pytest.mark.parametrize("path", ["share", "change", "messages/1/edit"])
def test_strangers_learn_nothing(new_chat: NewChat, cast: Cast, path: str) -> None:
    chat = new_chat(status="waiting")
    stranger = browser_of(cast.carol)
    posted = {"change": "archive", "person": "carol", "text": "x"}
    assert stranger.post(f"/chats/{chat.pk}/{path}", posted).status_code == 404
    assert Client().get(f"/chats/{chat.pk}/{path}").status_code == 302
    assert not fresh(chat).archived
