"""Admin of chats: to look at, not to change. States are changed by the state machine alone."""

from django.contrib import admin

from chatd.chats.models import Chat
from chatd.core.action_admin import ReadOnlyAdmin


@admin.register(Chat)
class ChatAdmin(ReadOnlyAdmin[Chat]):
    list_display = ("title", "owner", "status", "archived", "updated_at")
    list_filter = ("status", "archived")
    list_select_related = ("owner",)
    search_fields = ("title", "owner__username")
    show_full_result_count = False
    exclude = ("user_acl", "group_acl")
