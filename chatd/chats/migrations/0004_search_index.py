"""The full-text index over the words of titles and messages."""

from typing import Any

from django.db import migrations

_POSTGRESQL = ["CREATE INDEX search_words ON chats_chatsearchentry USING gin (words)"]
_POSTGRESQL_BACK = ["DROP INDEX search_words"]

# The words come folded and split; "@" begins the marks that no text can have.
_SQLITE = [
    """
    CREATE VIRTUAL TABLE chats_search USING fts5(
        words, content='chats_chatsearchentry', content_rowid='id',
        tokenize="unicode61 remove_diacritics 0 tokenchars '@'"
    )
    """,
    """
    CREATE TRIGGER chats_search_insert AFTER INSERT ON chats_chatsearchentry BEGIN
        INSERT INTO chats_search(rowid, words) VALUES (new.id, new.words);
    END
    """,
    """
    CREATE TRIGGER chats_search_delete AFTER DELETE ON chats_chatsearchentry BEGIN
        INSERT INTO chats_search(chats_search, rowid, words)
        VALUES ('delete', old.id, old.words);
    END
    """,
    """
    CREATE TRIGGER chats_search_update AFTER UPDATE OF words ON chats_chatsearchentry BEGIN
        INSERT INTO chats_search(chats_search, rowid, words)
        VALUES ('delete', old.id, old.words);
        INSERT INTO chats_search(rowid, words) VALUES (new.id, new.words);
    END
    """,
]
_SQLITE_BACK = [
    "DROP TRIGGER chats_search_update",
    "DROP TRIGGER chats_search_delete",
    "DROP TRIGGER chats_search_insert",
    "DROP TABLE chats_search",
]


def create_index(apps: Any, schema_editor: Any) -> None:
    _run(schema_editor, {"postgresql": _POSTGRESQL, "sqlite": _SQLITE})


def drop_index(apps: Any, schema_editor: Any) -> None:
    _run(schema_editor, {"postgresql": _POSTGRESQL_BACK, "sqlite": _SQLITE_BACK})


def _run(schema_editor: Any, statements: dict[str, list[str]]) -> None:
    for statement in statements.get(schema_editor.connection.vendor, []):
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("chats", "0003_search_entry")]

    operations = [migrations.RunPython(create_index, drop_index)]
