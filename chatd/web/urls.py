"""Routes of the pages."""

from django.urls import path

from chatd.web import commands, edits, sharing, single_sign_on, titles, views
from chatd.web.settings_pages import chats, keys, profile, spending, tokens, tools

urlpatterns = [
    path("", views.home, name="home"),
    path("login", views.SignInView.as_view(), name="login"),
    path("login/oidc", single_sign_on.start, name="single_sign_on"),
    path("login/oidc/callback", single_sign_on.callback, name="single_sign_on_callback"),
    path("logout", views.SignOutView.as_view(), name="logout"),
    path("settings", profile.profile, name="settings"),
    path("settings/tokens", tokens.tokens, name="settings_tokens"),
    path("settings/tokens/<str:key_id>/revoke", tokens.revoke, name="revoke_token"),
    path("settings/keys", keys.keys, name="settings_keys"),
    path("settings/chats", chats.chats, name="settings_chats"),
    path("settings/spending", spending.spending, name="settings_spending"),
    path("settings/tools", tools.tools, name="settings_tools"),
    path("settings/tools/<uuid:server_id>/connect", tools.connect, name="connect_tool"),
    path("settings/tools/<uuid:server_id>/connected", tools.finish, name="finish_tool_connection"),
    path("settings/tools/<uuid:server_id>/disconnect", tools.end, name="disconnect_tool"),
    path("chats", views.chats, name="chats"),
    path("chats/digests/<int:digest_id>/dismiss", views.dismiss, name="dismiss_digest"),
    path("chats/<uuid:chat_id>", views.chat, name="chat"),
    path("chats/<uuid:chat_id>/messages/<int:message_id>", views.message, name="message"),
    path("chats/<uuid:chat_id>/messages/<int:message_id>/edit", edits.edit, name="edit"),
    path("chats/<uuid:chat_id>/share", sharing.share, name="share"),
    path("chats/<uuid:chat_id>/change", commands.change, name="change"),
    path("chats/<uuid:chat_id>/send", commands.send, name="send"),
    path("chats/<uuid:chat_id>/interrupt", commands.interrupt, name="interrupt"),
    path("chats/<uuid:chat_id>/doubts/<uuid:call_id>", commands.decide, name="decide"),
    path("chats/<uuid:chat_id>/title", titles.rename, name="rename"),
    path("chats/<uuid:chat_id>/title/suggest", titles.suggest, name="suggest_title"),
    path("chats/<uuid:chat_id>/queue/<int:queued_id>/remove", commands.remove, name="remove"),
    path("chats/<uuid:chat_id>/queue/<int:queued_id>/promote", commands.promote, name="promote"),
]
