"""The scopes of tokens in words, for people who choose them."""

from collections.abc import Mapping

SCOPE_TEXTS: Mapping[str, str] = {
    "chat:*": "Everything with chats: the rights below, and what is added to them later",
    "chat:read": "Read chats, their messages and files, and follow them live",
    "chat:create": "Start chats",
    "chat:update": "Write in chats, stop answers, rename, pin and archive",
    "chat:share": "Say who else can read a chat",
    "chat:delete": "Delete chats, which nothing does yet",
    "user:personal": "Your tokens, provider keys and password; with a role those of others",
    "user:read": "Read what is known of people; who you are is always told",
    "user:update": "Rename you; with a role for it also change other people",
    "user:*": "Everything with people",
    "organization:read": "Read the organisations you are in",
    "organization:update": "Change organisations, with a role for it",
    "organization:*": "Everything with organisations, with a role for it",
    "organization_member:read": "See who is in your organisations",
    "organization_member:update": "Change who is in an organisation, with a role for it",
    "organization_member:*": "Everything with members of organisations",
    "group:read": "See the groups of your organisations",
    "group:update": "Change groups, with a role for it",
    "group:*": "Everything with groups",
    "ai_provider:*": "Providers, their keys and models, with a role for it",
    "deployment_config:read": "Read settings and limits of the deployment, with a role for it",
    "deployment_config:update": "Change settings and limits of the deployment, with a role for it",
    "deployment_config:*": "Everything with settings of the deployment",
    "audit_log:read": "Read the audit log, with a role for it",
    "audit_log:*": "Everything with the audit log",
}
"""By scope, in the order in which they are offered. `all` is offered as "no limit" instead."""

USUAL_SCOPES = ("chat:*", "chat:read", "chat:create", "chat:update", "user:personal")
"""What most programs need; the others are offered below."""
