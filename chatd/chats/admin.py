"""Admin of chats: to look at, not to change. States are changed by the state machine alone."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from chatd.chats.models import Chat


@admin.register(Chat)
class ChatAdmin(admin.ModelAdmin[Chat]):
    list_display = ("title", "owner", "status", "archived", "updated_at")
    list_filter = ("status", "archived")
    list_select_related = ("owner",)
    search_fields = ("title", "owner__username")
    show_full_result_count = False
    exclude = ("user_acl", "group_acl")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
