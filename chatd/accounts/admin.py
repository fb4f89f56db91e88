"""Admin of people, organisations, groups and tokens: Django looks for its classes here."""

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.models import Group

from chatd.accounts.administration import groups, organizations, people, tokens  # noqa: F401

# Tables of allauth, in which nothing is stored.
admin.site.unregister([EmailAddress, SocialAccount, SocialApp, SocialToken])
admin.site.unregister(Group)  # rights come from roles, not from Django's permission tables
