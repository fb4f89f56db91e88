"""What each role lets somebody do, in words: for the administration and its documentation."""

from chatd.accounts.models import OrganizationRole, SiteRole

ROLE_WORDS: dict[str, str] = {
    SiteRole.OWNER: "everything; there is always one who can act",
    SiteRole.USER_ADMIN: "make, rename, suspend and delete people, set their passwords, end their"
    " tokens, manage members and groups, give the role agents-access; not over people who hold any"
    " other role",
    SiteRole.AUDITOR: "read people, organisations, settings and the audit log",
    OrganizationRole.ADMIN: "everything in it: chats, members, their roles, groups, settings; make"
    " people in it",
    OrganizationRole.AUDITOR: "what every member may: read the organisation, its members and"
    " groups",
    OrganizationRole.AGENTS_ACCESS: "have chats; by default every member may",
}
"""By role, as the end of a sentence that says what its holder may."""


def role_label(role: str) -> str:
    """Return what a role is called on pages; an unknown one by its own name."""
    labels = dict(SiteRole.choices) | dict(OrganizationRole.choices)
    return labels.get(role, role)


def roles_in_words(roles: list[str]) -> str:
    """Return the labels of roles in one line; empty for none."""
    return ", ".join(role_label(role) for role in roles)
