"""Routes of the pages."""

from django.urls import path

from chatd.web import commands, edits, sharing, titles, views

urlpatterns = [
    path("", views.home, name="home"),
    path("login", views.SignInView.as_view(), name="login"),
    path("logout", views.SignOutView.as_view(), name="logout"),
    path("chats", views.chats, name="chats"),
    path("chats/<uuid:chat_id>", views.chat, name="chat"),
    path("chats/<uuid:chat_id>/messages/<int:message_id>", views.message, name="message"),
    path("chats/<uuid:chat_id>/messages/<int:message_id>/edit", edits.edit, name="edit"),
    path("chats/<uuid:chat_id>/share", sharing.share, name="share"),
    path("chats/<uuid:chat_id>/change", commands.change, name="change"),
    path("chats/<uuid:chat_id>/send", commands.send, name="send"),
    path("chats/<uuid:chat_id>/interrupt", commands.interrupt, name="interrupt"),
    path("chats/<uuid:chat_id>/title", titles.rename, name="rename"),
    path("chats/<uuid:chat_id>/title/suggest", titles.suggest, name="suggest_title"),
    path("chats/<uuid:chat_id>/queue/<int:queued_id>/remove", commands.remove, name="remove"),
    path("chats/<uuid:chat_id>/queue/<int:queued_id>/promote", commands.promote, name="promote"),
]
