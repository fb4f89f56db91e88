"""GET /chats?q=text:"…": full-text search of titles and messages, ranked, with a snippet."""

from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chatd.chats import runs, states
from chatd.chats.models import Chat, ChatMessage, Role, Visibility
from chatd.chats.new_messages import NewMessage
from chatd.chats.search import MAX_HITS
from tests.api.client import Answer, Api, assistant, start, text_part
from tests.support.people import text, user_content


def asked(api: Api, words: str, more: str = "", **page) -> Answer:
    query = {"q": f'text:"{words}" {more}', **page}
    return api.get(f"/chats?{urlencode(query)}")


def found(api: Api, words: str, more: str = "", **page) -> list[str]:
    answer = asked(api, words, more, **page)
    assert answer.status == 200
    return [chat["title"] for chat in answer.body]


def said(api: Api, words: str, title: str) -> str:
    """Start a chat over the API and name it; return its id."""
    created = api.post(
        "/chats", {"organization_id": _organization(api), "content": [text_part(words)]}
    )
    assert created.status == 201
    chat_id = created.body["id"]
    answer(Chat.objects.get(pk=chat_id), "Noted.")
    assert api.patch(f"/chats/{chat_id}", {"title": title}).status == 204
    return str(chat_id)


def _organization(api: Api) -> str:
    return str(api.get("/api/v2/users/me/organizations").body[0]["id"])


def answer(chat: Chat, words: str) -> None:
    runs.finish(start(chat), [assistant(words)])


# What is found


@pytest.fixture
def talk(alice, model):
    return said(alice, "How do I rotate the encryption keys?", "Key rotation")


@pytest.mark.parametrize(
    "words",
    ["encryption", "ENCRYPTION", "encrypt", "rotate keys", "keys rotate", "Key rotation", "keys?"],
)
def test_words_of_titles_and_messages_are_found(words, alice, talk):
    said(alice, "Something else", "Other")
    assert found(alice, words) == ["Key rotation"]


@pytest.mark.parametrize("words", ["decryption", "cryption", "encryption tomorrow", "Other keys"])
def test_every_word_must_stand_in_the_same_place(words, alice, talk):
    said(alice, "Something else", "Other")
    assert found(alice, words) == []


def test_a_search_may_stand_without_quotes_and_beside_other_terms(alice, talk):
    alice.patch(f"/chats/{talk}", {"labels": {"team": "core"}})
    for query in ("q=text:encryption", "q=TEXT:encryption&label=team:core"):
        assert [chat["id"] for chat in alice.get(f"/chats?{query}").body] == [talk]
    assert alice.get("/chats?q=text:encryption&label=team:other").body == []
    assert found(alice, "encryption", "title:nothing") == []


def test_words_of_all_scripts_are_found(alice, model):
    said(alice, "Le résumé du café", "French")
    said(alice, "如何轮换数据库密钥", "Chinese")
    said(alice, "Как сменить ключи", "Russian")
    assert found(alice, "resume CAFE") == ["French"]
    assert found(alice, "数据库") == ["Chinese"]
    assert found(alice, "据数") == []
    assert found(alice, "ключ") == ["Russian"]


def test_a_path_or_a_version_is_found_as_it_is_written(alice, model):
    said(alice, "See src/chatd/main.py, version 3.14.1", "Path")
    said(alice, "py and main, 14 and 3", "Scattered")
    assert found(alice, "main.py") == ["Path"]
    assert found(alice, "3.14") == ["Path"]
    assert sorted(found(alice, "main py")) == ["Path", "Scattered"]


def test_answers_are_found_but_not_what_only_the_model_sees(alice, chats):
    chat = chats.pending()
    hidden = NewMessage(
        role=Role.ASSISTANT, content=text("clandestine"), visibility=Visibility.MODEL
    )
    runs.finish(start(chat), [assistant("The capital is Canberra."), hidden])
    assert found(alice, "canberra") == [chat.title]
    assert found(alice, "clandestine") == []
    assert found(alice, "test") == [], "the hidden system message says 'You are a test.'"


def test_tool_calls_are_not_searched_but_quoted_files_are(alice, chats):
    chat = chats.requiring_action()
    assert found(alice, "lookup") == []
    reference = {
        "type": "file-reference",
        "file_name": "deploy.yaml",
        "start_line": 1,
        "end_line": 2,
        "content": "replicas: three",
    }
    sent = alice.post(f"/chats/{chats.waiting().pk}/messages", {"content": [reference]})
    assert sent.status == 200
    assert len(found(alice, "deploy.yaml")) == len(found(alice, "replicas")) == 1
    assert chat.title


def test_a_queued_message_is_found_once_it_is_promoted(alice, chats):
    chat = chats.running()
    queued = states.send_message(chat.pk, user_content(chat.owner_id, "periwinkle")).queued
    assert found(alice, "periwinkle") == []
    assert alice.post(f"/chats/{chat.pk}/queue/{queued.pk}/promote").status == 202
    assert found(alice, "periwinkle") == [chat.title]


def test_a_title_is_found_by_what_it_is_now(alice, talk):
    alice.patch(f"/chats/{talk}", {"title": "Certificates"})
    assert found(alice, "rotation") == []
    assert found(alice, "certificates") == ["Certificates"]


def test_an_edit_takes_back_what_it_cut(alice, talk):
    first = ChatMessage.objects.get(chat_id=talk, role=Role.USER)
    edited = alice.patch(
        f"/chats/{talk}/messages/{first.pk}", {"content": [text_part("About backups.")]}
    )
    assert edited.status == 200
    assert found(alice, "encryption") == found(alice, "noted") == []
    assert found(alice, "backups") == ["Key rotation"]


def test_only_own_chats_are_searched(alice, bob, root, talk):
    said(bob, "My encryption", "Bob's")
    assert found(bob, "encryption") == ["Bob's"]
    assert found(alice, "encryption") == ["Key rotation"]
    alice.patch(
        f"/chats/{talk}/acl", {"user_roles": {bob.get("/api/v2/users/me").body["id"]: "read"}}
    )
    assert found(bob, "encryption") == ["Bob's"]
    assert found(root, "encryption") == []


def test_without_agents_access_nothing_is_found(alice, talk, without_access):
    without_access()
    assert found(alice, "encryption") == []


def test_archived_chats_are_found_only_when_they_are_asked_for(alice, talk):
    alice.patch(f"/chats/{talk}", {"archived": True})
    assert found(alice, "encryption") == []
    assert found(alice, "encryption", "archived:true") == ["Key rotation"]


def test_a_sub_chat_is_found_as_its_root(alice, chats):
    root = chats.waiting()
    child = chats.child_of(root)
    states.send_message(child.pk, user_content(child.owner_id, "quokka"))
    (shown,) = asked(alice, "quokka").body
    assert shown["id"] == str(root.pk)
    assert [entry["id"] for entry in shown["children"]] == [str(child.pk)]
    assert shown["snippet"] == "quokka"


# Order, snippet, pages


def test_titles_come_first_then_the_better_message(alice, model):
    said(alice, "One word about penguins among many, many other words here", "Weak")
    said(alice, "Penguins, penguins, penguins", "Strong")
    said(alice, "Nothing to see", "Penguins")
    said(alice, "No birds", "None")
    assert found(alice, "penguins") == ["Penguins", "Strong", "Weak"]


def test_equal_chats_are_ordered_by_their_last_change(alice, model):
    for title in ("first", "second", "third"):
        said(alice, "the same walrus", title)
    assert found(alice, "walrus") == ["third", "second", "first"]


def test_the_snippet_shows_where_the_words_stand(alice, talk):
    (shown,) = asked(alice, "encryption").body
    first = ChatMessage.objects.get(chat_id=talk, role=Role.USER)
    assert shown["snippet"] == "How do I rotate the encryption keys?"
    assert shown["snippet_message_id"] == first.pk


def test_the_snippet_of_a_title_names_no_message(alice, talk):
    (shown,) = asked(alice, "rotation").body
    assert shown["snippet"] == "Key rotation"
    assert "snippet_message_id" not in shown


def test_other_lists_have_no_snippet(alice, talk):
    (shown,) = alice.get("/chats?q=title:rotation").body
    assert "snippet" not in shown
    assert "snippet" not in alice.get(f"/chats/{talk}").body


def test_pages_of_a_search_join_without_gap_or_double(alice, model):
    ids = [said(alice, "ocelot " * count, f"{count}") for count in range(1, 6)]
    whole = [chat["id"] for chat in asked(alice, "ocelot").body]
    assert sorted(whole) == sorted(ids)
    pages, after = [], None
    while page := asked(alice, "ocelot", limit=2, **({"after_id": after} if after else {})).body:
        pages += [chat["id"] for chat in page]
        after = pages[-1]
    assert pages == whole
    assert [c["id"] for c in asked(alice, "ocelot", limit=2, offset=3).body] == whole[3:]
    unknown = "a1a1a1a1-0000-4000-8000-000000000000"
    assert asked(alice, "ocelot", after_id=unknown).body == []


@pytest.mark.parametrize("words", ["!!!", " ", "@title", "…"])
def test_a_search_without_a_word_says_so(words, alice, talk):
    answer = asked(alice, words)
    if words == "@title":
        assert (answer.status, answer.body) == (200, []), "marks of the index are no words"
        return
    assert (answer.status, answer.message) == (400, "Invalid chat search query.")
    assert answer.body["validations"] == [
        {"field": "text", "detail": 'Query param "text" must contain a letter or a digit'}
    ]


def test_an_empty_search_is_none(alice, talk):
    assert len(alice.get('/chats?q=text:""').body) == 1


def test_a_search_of_too_many_words_is_refused(alice, talk):
    assert found(alice, " ".join(["keys"] * 32)) == ["Key rotation"]
    answer = asked(alice, " ".join(["keys"] * 33))
    assert answer.status == 400
    assert (
        answer.body["validations"][0]["detail"] == 'Query param "text" must have at most 32 words'
    )


@pytest.mark.parametrize(
    "words",
    ["' OR 1=1 --", "NEAR(a b)", "a AND b", "key*", "words:key", "^key", "a & !b", "a <-> b"],
)
def test_no_search_is_taken_for_an_expression(words, alice, talk):
    answer = asked(alice, words.replace('"', ""))
    assert answer.status == 200
    assert found(alice, "key*") == ["Key rotation"]


# Cost


def test_a_search_costs_the_same_for_one_chat_and_for_many(alice, model):
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert found(alice, "lemur")
        return len(captured.captured_queries)

    said(alice, "a lemur", "one")
    one = cost()
    for number in range(6):
        said(alice, "lemur lemur", f"{number}")
    assert cost() == one


def test_the_newest_matches_are_ranked_when_there_are_very_many(alice, model, monkeypatch):
    monkeypatch.setattr("chatd.chats.search.MAX_HITS", 2)
    assert MAX_HITS > 2
    said(alice, "tapir tapir tapir", "old and best")
    said(alice, "a tapir", "newer")
    said(alice, "the tapir", "newest")
    assert sorted(found(alice, "tapir")) == ["newer", "newest"]
    said(alice, "nothing", "tapir")
    assert found(alice, "tapir")[0] == "tapir"
