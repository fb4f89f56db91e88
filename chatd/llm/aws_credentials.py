"""AWS credentials that are not configured: those of the surroundings, found by botocore.

Belongs here: environment, shared files and roles of the machine, through an optional package.
Does not belong here: configured credentials, signing (`wires.bedrock.signing`).
"""

import asyncio
import threading
from dataclasses import replace
from functools import cache
from typing import Any

from chatd.llm import providers
from chatd.llm.errors import ErrorKind, error_of
from chatd.llm.providers import Wire
from chatd.llm.types import AwsAccess, Provider

DEFAULT_REGION = "us-east-1"

_asking = threading.Lock()
"""A session is not made for several threads."""

NO_PACKAGE = (
    "AWS credentials of the machine can only be used with the package botocore. Install it, or"
    " configure an access key or an API key for the provider."
)
NO_CREDENTIALS = (
    "No AWS credentials were found. Configure an access key or an API key for the provider, or give"
    " the machine a role."
)


async def with_credentials(provider: Provider) -> Provider:
    """Return a provider on Bedrock with credentials to call it with; any other as it is.

    Raises: LLMError of kind config where there are none.
    """
    kind = providers.find_kind(provider.kind)
    if provider.aws is None and (kind is None or kind.wire is not Wire.BEDROCK):
        return provider
    access = provider.aws or AwsAccess(region="")
    access = replace(access, region=access.region.strip() or DEFAULT_REGION)
    if not provider.api_key.strip() and not access.can_sign:
        # on a thread: a role of the machine is asked for over the network
        access = await asyncio.to_thread(_ambient, access, provider)
    return replace(provider, aws=access)


def _ambient(access: AwsAccess, provider: Provider) -> AwsAccess:
    try:
        with _asking:
            credentials = _session().get_credentials()
            found = credentials.get_frozen_credentials() if credentials else None
    except ImportError:
        raise error_of(ErrorKind.CONFIG, provider, message=NO_PACKAGE) from None
    except Exception as exc:  # noqa: BLE001 - the edge to a foreign library
        detail = str(exc)
        raise error_of(ErrorKind.CONFIG, provider, message=NO_CREDENTIALS, detail=detail) from None
    if found is None:
        raise error_of(ErrorKind.CONFIG, provider, message=NO_CREDENTIALS)
    return replace(
        access,
        access_key=found.access_key,
        access_key_secret=found.secret_key,
        session_token=found.token or "",
    )


@cache
def _session() -> Any:
    """Return the one session of the process: it keeps credentials and renews them in time."""
    from botocore.session import Session

    return Session()
