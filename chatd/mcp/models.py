"""MCP servers and the tokens that people have for them.

Servers change through `actions`, tokens through `connections` and `refreshing`.
"""

import uuid

from django.db import models
from django.db.models import Q

from chatd.accounts.models import User
from chatd.core.clock import now
from chatd.core.fields import EncryptedTextField, NulSafeJSONField
from chatd.providers.models import validate_http_url

MAX_SLUG = 64
MAX_NAME = 128
MAX_URL = 2048
MAX_SCOPES = 2048
MAX_HEADER = 128
MAX_DESCRIPTION = 4096


class Transport(models.TextChoices):
    STREAMABLE_HTTP = "streamable_http", "Streamable HTTP"
    SSE = "sse", "Server-sent events"


class AuthType(models.TextChoices):
    """What a server is shown to let a call in."""

    NONE = "none", "Nothing"
    OAUTH2 = "oauth2", "OAuth 2, everybody for themselves"
    API_KEY = "api_key", "A shared key"
    CUSTOM_HEADERS = "custom_headers", "Shared headers"
    USER_OIDC = "user_oidc", "The token a person signed in with"


class Availability(models.TextChoices):
    """Whether chats use a server that nobody chose for them."""

    FORCE_ON = "force_on", "In every chat"
    DEFAULT_ON = "default_on", "Chosen unless taken out"
    DEFAULT_OFF = "default_off", "Only where chosen"


class TokenAuthMethod(models.TextChoices):
    """How an OAuth client proves itself at the token endpoint; blank: whatever the server takes."""

    NONE = "none", "A client id alone"
    BASIC = "client_secret_basic", "Basic authentication"
    POST = "client_secret_post", "A secret in the form"


class MCPServerConfig(models.Model):
    """An MCP server whose tools chats can use.

    `custom_headers` is an encrypted JSON object of texts, blank for none. `oauth2_auth_method` and
    `oauth2_resource` (the audience that tokens are asked for) are known of discovered servers.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    display_name = models.CharField(max_length=MAX_NAME)
    slug = models.CharField(max_length=MAX_SLUG)
    description = models.TextField(blank=True, default="")
    icon_url = models.CharField(max_length=MAX_URL, blank=True, default="")
    transport = models.CharField(
        max_length=16, choices=Transport.choices, default=Transport.STREAMABLE_HTTP
    )
    url = models.CharField(max_length=MAX_URL, validators=[validate_http_url])
    auth_type = models.CharField(max_length=16, choices=AuthType.choices, default=AuthType.NONE)
    oauth2_client_id = models.CharField(max_length=MAX_URL, blank=True, default="")
    oauth2_client_secret = EncryptedTextField(blank=True, default="", editable=False)
    oauth2_auth_url = models.CharField(max_length=MAX_URL, blank=True, default="")
    oauth2_token_url = models.CharField(max_length=MAX_URL, blank=True, default="")
    oauth2_scopes = models.CharField(max_length=MAX_SCOPES, blank=True, default="")
    oauth2_auth_method = models.CharField(
        max_length=32, choices=TokenAuthMethod.choices, blank=True, default="", editable=False
    )
    oauth2_resource = models.CharField(max_length=MAX_URL, blank=True, default="", editable=False)
    api_key_header = models.CharField(max_length=MAX_HEADER, blank=True, default="Authorization")
    api_key_value = EncryptedTextField(blank=True, default="", editable=False)
    custom_headers = EncryptedTextField(blank=True, default="", editable=False)
    tool_allow_list = NulSafeJSONField(default=list, blank=True)
    tool_deny_list = NulSafeJSONField(default=list, blank=True)
    availability = models.CharField(
        max_length=16, choices=Availability.choices, default=Availability.DEFAULT_OFF
    )
    enabled = models.BooleanField(default=False)
    model_intent = models.BooleanField(default=False)
    allow_in_plan_mode = models.BooleanField(default=False)
    forward_coder_headers = models.BooleanField(default=False)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    updated_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "MCP server"
        constraints = [
            models.UniqueConstraint(fields=["slug"], name="mcp_server_slug_unique"),
            models.CheckConstraint(
                condition=Q(transport__in=Transport.values), name="mcp_server_transport_known"
            ),
            models.CheckConstraint(
                condition=Q(auth_type__in=AuthType.values), name="mcp_server_auth_type_known"
            ),
            models.CheckConstraint(
                condition=Q(availability__in=Availability.values),
                name="mcp_server_availability_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["display_name"], condition=Q(enabled=True), name="mcp_server_enabled"
            ),
            models.Index(
                fields=["display_name"],
                condition=Q(enabled=True, availability=Availability.FORCE_ON),
                name="mcp_server_forced",
            ),
        ]

    def __str__(self) -> str:
        return self.display_name

    @property
    def uses_oauth(self) -> bool:
        """Everybody needs a connection of their own."""
        return self.auth_type == AuthType.OAUTH2


class MCPServerUserToken(models.Model):
    """What a server's authorization server gave one person. No expiry: it never ends.

    Who refreshes it holds `refresh_claim` until `refreshing_until`, so that one does at a time.
    After `refresh_failures` in a row nobody tries before `refresh_not_before`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    server = models.ForeignKey(
        MCPServerConfig,
        on_delete=models.CASCADE,
        related_name="tokens",
        db_column="mcp_server_config_id",
        db_index=False,  # the unique constraint begins with it
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="mcp_tokens")
    access_token = EncryptedTextField()
    refresh_token = EncryptedTextField(blank=True, default="")
    token_type = models.CharField(max_length=32, default="Bearer")
    expiry = models.DateTimeField(null=True, blank=True)
    refresh_claim = models.UUIDField(null=True, blank=True, editable=False)
    refreshing_until = models.DateTimeField(null=True, blank=True, editable=False)
    refresh_failures = models.PositiveIntegerField(default=0, editable=False)
    refresh_not_before = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "MCP connection"
        constraints = [
            models.UniqueConstraint(fields=["server", "user"], name="mcp_token_unique"),
            models.CheckConstraint(condition=~Q(access_token=""), name="mcp_token_not_blank"),
            models.CheckConstraint(
                condition=Q(refresh_claim__isnull=True, refreshing_until__isnull=True)
                | Q(refresh_claim__isnull=False, refreshing_until__isnull=False),
                name="mcp_token_claim_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"token of {self.user_id} for {self.server_id}"
