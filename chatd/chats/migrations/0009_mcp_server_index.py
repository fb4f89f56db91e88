"""Index the MCP servers that chats name, where the database has such an index."""

from typing import Any

from django.db import migrations

_CREATE = """
    CREATE INDEX chat_by_mcp_server ON chats_chat USING gin (mcp_server_ids jsonb_path_ops)
    WHERE NOT (mcp_server_ids = '[]'::jsonb)
"""


def create_index(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(_CREATE)


def drop_index(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX chat_by_mcp_server")


class Migration(migrations.Migration):
    dependencies = [("chats", "0008_digests_and_ages")]

    operations = [migrations.RunPython(create_index, drop_index)]
