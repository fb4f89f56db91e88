"""What a start makes sure of: a free address, a migrated database, an admin, the demo model."""

import secrets
import socket
from dataclasses import dataclass

from django.core.management import CommandError, call_command
from django.db import transaction

from chatd.accounts.actions import create_user, default_organization
from chatd.accounts.models import SiteRole, User
from chatd.accounts.users import user_resource
from chatd.audit.actions import Author, record
from chatd.audit.models import Action
from chatd.core.errors import ChatdError
from chatd.launch.migrating import migration_lock
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import DEMO_PROVIDER, AIProvider, ModelConfig, ProviderType
from config.env import Environment


@dataclass(frozen=True, slots=True)
class Administrator:
    """The administrator of a first start. `password` is set only when it was generated now."""

    username: str
    password: str = ""

    def __repr__(self) -> str:
        return f"Administrator({self.username!r})"


class AddressUnusableError(Exception):
    """Nothing can listen on the wanted address, most often because something else does."""


def check_address(host: str, port: int) -> None:
    """Raise AddressUnusableError unless the server will be able to listen.

    Done before anything is created: a generated password is shown when the server listens, and a
    start that fails after making it would lose it for good.
    """
    if not 0 < port < 65536:
        raise AddressUnusableError(f"The port must be between 1 and 65535, got {port}.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        raise AddressUnusableError(
            f"chatd cannot listen on {host}, port {port}: {error.strerror}. "
            "Choose another one with --host and --port, or stop what uses it."
        ) from None


def migrate() -> None:
    """Bring the database to this version."""
    call_command("migrate", interactive=False, verbosity=0)


def prepare(env: Environment) -> Administrator | None:
    """Migrate, and create the first administrator. Raises CommandError when that is refused.

    Of hosts that start at the same time one does both, and the others find it done.
    """
    with migration_lock():
        migrate()
        try:
            return ensure_administrator(env)
        except ChatdError as error:
            raise CommandError(f"The administrator cannot be created: {error.message}") from None


def ensure_administrator(env: Environment) -> Administrator | None:
    """Create the first administrator; None when there is one already."""
    default_organization()
    if any(SiteRole.OWNER in user.rbac_roles for user in User.objects.live()):
        return None
    password = env.admin_password or secrets.token_urlsafe(12)
    user = create_user(
        username=env.admin_username,
        email=env.admin_email,
        password=password,
        site_roles=[SiteRole.OWNER],
        check_strength=False,
    )
    record(Author(None, "first start"), Action.CREATE, user_resource(user))
    return Administrator(user.username, "" if env.admin_password else password)


def ensure_demo_model(*, base_url: str, model: str) -> None:
    """Create the demo provider and model once; later starts only follow its address.

    An administrator who deleted or disabled it keeps it that way.
    """
    with migration_lock(), transaction.atomic():
        _ensure_demo_model(base_url, model)


def _ensure_demo_model(base_url: str, model: str) -> None:
    provider = AIProvider.objects.filter(name=DEMO_PROVIDER).first()
    if provider is None:
        provider = save_provider(
            AIProvider(
                type=ProviderType.OPENAI_COMPAT,
                name=DEMO_PROVIDER,
                display_name="Demo",
                base_url=base_url,
            )
        )
        save_model_config(
            ModelConfig(ai_provider=provider, model=model, display_name="Demo model (offline)")
        )
    elif provider.base_url != base_url and not provider.deleted:
        provider.base_url = base_url
        save_provider(provider)
