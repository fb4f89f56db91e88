"""Settings of providers that run on AWS Bedrock: where, and with which credentials.

They are stored encrypted as one JSON text. The credentials go in and never come out.
"""

from dataclasses import asdict, dataclass, field

import msgspec

from chatd.core.crypto import UndecryptableError
from chatd.core.fields import open_secret, seal
from chatd.llm.types import AwsAccess
from chatd.providers.models import AIProvider, ProviderType
from config.env import env

TYPE = "bedrock"
VERSION = 1
TYPES = frozenset({ProviderType.ANTHROPIC, ProviderType.BEDROCK})
"""Kinds of provider that can run on Bedrock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BedrockSettings:
    """What is stored; blank texts are not set."""

    region: str = ""
    model: str = ""
    small_fast_model: str = ""
    access_key: str = field(default="", repr=False)
    access_key_secret: str = field(default="", repr=False)

    @property
    def is_complete(self) -> bool:
        """There is a region or there are credentials to call with."""
        return bool(self.region or (self.access_key and self.access_key_secret))


@dataclass(frozen=True, slots=True, kw_only=True)
class BedrockChanges:
    """Settings as they are to be. A credential that is None stays what it is, "" clears it."""

    region: str = ""
    model: str = ""
    small_fast_model: str = ""
    access_key: str | None = field(default=None, repr=False)
    access_key_secret: str | None = field(default=None, repr=False)

    def applied_to(self, stored: BedrockSettings | None) -> BedrockSettings:
        """Return the settings that result from these and the stored ones."""
        before = stored or BedrockSettings()
        return BedrockSettings(
            region=self.region,
            model=self.model,
            small_fast_model=self.small_fast_model,
            access_key=_kept(self.access_key, before.access_key),
            access_key_secret=_kept(self.access_key_secret, before.access_key_secret),
        )


def seal_settings(settings: BedrockSettings) -> str:
    """Return settings as they are stored."""
    whole = {"_type": TYPE, "_version": VERSION, **asdict(settings)}
    return seal(msgspec.json.encode(whole).decode())


def open_settings(provider: AIProvider) -> BedrockSettings | None:
    """Return the settings of a provider, None for none. Raises UndecryptableError."""
    if not provider.settings:
        return None
    return msgspec.json.decode(open_secret(provider.settings), type=BedrockSettings)


def readable_settings(provider: AIProvider) -> BedrockSettings | None:
    """Return the settings of a provider, also None for those that cannot be read any more."""
    try:
        return open_settings(provider)
    except UndecryptableError:
        return None


def access_of(provider: AIProvider) -> AwsAccess | None:
    """Return where on AWS a provider runs and with what, None for one that does not.

    Raises UndecryptableError.
    """
    settings = open_settings(provider)
    if settings is None and provider.type != ProviderType.BEDROCK:
        return None
    return access_with(settings or BedrockSettings())


def access_with(settings: BedrockSettings) -> AwsAccess:
    """Return settings as calls take them; what they do not say comes from the surroundings."""
    return AwsAccess(
        region=settings.region.strip() or env.aws_region,
        access_key=settings.access_key,
        access_key_secret=settings.access_key_secret,
    )


def _kept(wanted: str | None, stored: str) -> str:
    return stored if wanted is None else wanted
