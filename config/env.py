"""The only reader of the process environment.

Every knob of a deployment is a field of `Environment`; everything else imports `env` from here.
A value may also come from a file named by `<VARIABLE>_FILE`, so that secrets need not stand in
the environment. A malformed value stops the start with a sentence that names the variable.
"""

import json
import math
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent


class EnvironmentError_(Exception):  # noqa: N801, N818 - the builtin name is taken
    """A variable of the environment has a value that cannot be used."""


_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_SITE_ROLES = ("owner", "auditor", "user-admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleSignOn:
    """An OpenID provider that people sign in with.

    `groups` maps values of the groups claim to names of groups, `roles` to roles in the deployment.
    No `groups_claim`: groups and roles are left alone. No `email_domains`: all are allowed.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    label: str
    scopes: tuple[str, ...]
    email_claim: str
    username_claim: str
    name_claim: str
    groups_claim: str
    groups: Mapping[str, str]
    create_groups: bool
    roles: Mapping[str, str]
    create_people: bool
    email_domains: tuple[str, ...]
    trust_emails: bool
    passwords: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Where traces are sent: the URL of a collector's `/v1/traces`, and who they are of."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    service_name: str


def is_safe_url(url: str) -> bool:
    """Tell whether nobody on the way can change what a URL answers: HTTPS, or this host."""
    parts = _parts_with_host(url)
    if parts is None:
        return False
    is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    is_private = parts.scheme == "https" or is_local
    return is_private and not (parts.username or parts.fragment or "\\" in url)


def _parts_with_host(url: str) -> SplitResult | None:
    """Return the parts of a URL; None for one that names no host, or cannot be read."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts if host else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Typed settings of one process. Durations are seconds, rates are per minute.

    `encryption_keys` is None when none were given; given but empty is an empty ring.
    """

    data_dir: Path
    debug: bool
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    encryption_keys: tuple[str, ...] | None = field(repr=False)
    allowed_hosts: tuple[str, ...]
    csrf_trusted_origins: tuple[str, ...]
    secure_cookies: bool
    log_format: str
    log_level: str
    admin_username: str
    admin_password: str = field(repr=False)
    admin_email: str
    turn_slots: int
    turn_slots_per_person: int
    database_threads: int
    prepared_statements: bool
    request_slots: int
    max_sockets: int
    lease_seconds: float
    lease_renew_seconds: float
    sweep_seconds: float
    pending_resend_seconds: float
    action_timeout_seconds: float
    stream_silence_seconds: float
    retry_first_delay_seconds: float
    retry_max_delay_seconds: float
    flush_window_seconds: float
    heal_seconds: float
    ping_seconds: float
    side_calls: bool
    demo_pace: float
    token_max_days: int
    audit_days: int
    session_days: int
    sharing_disabled: bool
    allow_byok: bool
    aws_region: str
    force_debug_logging: bool
    older_clients: bool
    api_rate_limit: int
    upload_rate_limit: int
    sign_in_rate_limit: int
    trusted_proxies: tuple[str, ...]
    single_sign_on: SingleSignOn | None
    metrics_allowed: tuple[IPv4Network | IPv6Network, ...]
    metrics_token: str = field(repr=False)
    metrics_port: int
    traces: Traces | None
    migration_wait_seconds: float
    migration_lock_seconds: float
    metrics_dir: str

    @property
    def embedded(self) -> bool:
        """True when web, worker and beat share one process (no Redis is configured)."""
        return not self.redis_url

    @property
    def sqlite_path(self) -> Path:
        return self.data_dir / "chatd.sqlite3"


class _Reader:
    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        file_name = self._values.get(f"{name}_FILE", "")
        if file_name:
            try:
                return Path(file_name).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise EnvironmentError_(f"{name}_FILE cannot be read: {error}.") from error
            except UnicodeDecodeError:
                raise EnvironmentError_(f"{name}_FILE must hold text, not bytes.") from None
        return self._values.get(name, "").strip() or default

    def flag(self, name: str, *, default: bool) -> bool:
        raw = self.text(name).lower()
        if not raw:
            return default
        if raw in {"1", "true", "yes", "on"}:
            return True
        if raw in {"0", "false", "no", "off"}:
            return False
        raise EnvironmentError_(f"{name} must be true or false, got {raw!r}.")

    def number(self, name: str, default: float, *, least: float = 0.0) -> float:
        raw = self.text(name)
        try:
            value = float(raw) if raw else default
        except ValueError:
            raise EnvironmentError_(f"{name} must be a number, got {raw!r}.") from None
        if not math.isfinite(value):
            raise EnvironmentError_(f"{name} must be a finite number, got {raw!r}.")
        if value < least:
            raise EnvironmentError_(f"{name} must be at least {least:g}, got {value:g}.")
        return value

    def integer(self, name: str, default: int, *, least: int = 0) -> int:
        value = self.number(name, float(default), least=float(least))
        if value != int(value):
            raise EnvironmentError_(f"{name} must be a whole number, got {value:g}.")
        return int(value)

    def names(self, name: str) -> tuple[str, ...]:
        return tuple(item.strip() for item in self.text(name).split(",") if item.strip())

    def networks(self, name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        try:
            return tuple(ip_network(each, strict=False) for each in self.names(name))
        except ValueError as error:
            raise EnvironmentError_(f"{name} must list addresses or networks: {error}.") from None

    def gives_any(self, prefix: str) -> bool:
        """Tell whether a variable whose name begins so has a value."""
        return any(name.startswith(prefix) and v.strip() for name, v in self._values.items())

    def mapping(self, name: str, *, allowed: Collection[str] = ()) -> dict[str, str]:
        """Return a JSON object of texts; its values are some of `allowed`, if that is given."""
        try:
            read = json.loads(self.text(name) or "{}")
        except (ValueError, RecursionError):
            read = None
        if not isinstance(read, dict) or not all(isinstance(v, str) and v for v in read.values()):
            raise EnvironmentError_(f'{name} must be a JSON object of texts: {{"from": "to"}}.')
        for value in read.values():
            if allowed and value not in allowed:
                raise EnvironmentError_(
                    f"{name} may lead to {', '.join(allowed)} only, got {value!r}."
                )
        return read

    def headers(self, name: str) -> dict[str, str]:
        """Return HTTP headers given as `name=value,name=value`, with values in URL encoding."""
        pairs = [item.partition("=") for item in self.names(name)]
        if not all(key.strip() and equals for key, equals, _ in pairs):
            raise EnvironmentError_(f"{name} must list headers: name=value,name=value.")
        return {key.strip(): unquote(value.strip()) for key, _, value in pairs}

    def keys(self, name: str) -> tuple[str, ...] | None:
        """Return the list, or None when neither it nor a file with it was given."""
        given = self._values.get(name, "").strip() or self._values.get(f"{name}_FILE", "")
        return self.names(name) if given else None


def read_environment(values: Mapping[str, str]) -> Environment:
    """Return the typed environment. Raises EnvironmentError_ naming the bad variable."""
    read = _Reader(values)
    found = _read(read)
    if found.lease_seconds < 2 * found.lease_renew_seconds:
        raise EnvironmentError_(
            "CHATD_LEASE_SECONDS must be at least twice CHATD_LEASE_RENEW_SECONDS:"
            " a lease that runs out before it is renewed makes every turn start again."
        )
    if found.metrics_dir and not Path(found.metrics_dir).is_dir():
        raise EnvironmentError_(
            f"PROMETHEUS_MULTIPROC_DIR must be a folder that exists, got {found.metrics_dir!r}."
        )
    return found


def _read(read: _Reader) -> Environment:
    slots = read.integer("CHATD_TURN_SLOTS", 200, least=1)
    return Environment(
        data_dir=Path(read.text("CHATD_DATA", ".chatd")).expanduser().resolve(),
        debug=read.flag("CHATD_DEBUG", default=False),
        database_url=read.text("DATABASE_URL"),
        redis_url=read.text("REDIS_URL"),
        secret_key=read.text("CHATD_SECRET_KEY"),
        encryption_keys=read.keys("CHATD_ENCRYPTION_KEYS"),
        allowed_hosts=read.names("CHATD_ALLOWED_HOSTS"),
        csrf_trusted_origins=read.names("CHATD_TRUSTED_ORIGINS"),
        secure_cookies=read.flag("CHATD_SECURE_COOKIES", default=False),
        log_format=read.text("CHATD_LOG_FORMAT", "console"),
        log_level=read.text("CHATD_LOG_LEVEL", "INFO").upper(),
        admin_username=read.text("CHATD_ADMIN_USERNAME", "admin"),
        admin_password=read.text("CHATD_ADMIN_PASSWORD"),
        admin_email=read.text("CHATD_ADMIN_EMAIL", "admin@localhost"),
        turn_slots=slots,
        turn_slots_per_person=read.integer(
            "CHATD_TURN_SLOTS_PER_PERSON", max(slots // 2, 1), least=1
        ),
        database_threads=read.integer("CHATD_DATABASE_THREADS", 8, least=1),
        prepared_statements=read.flag("CHATD_PREPARED_STATEMENTS", default=True),
        request_slots=read.integer("CHATD_REQUEST_SLOTS", 16, least=1),
        max_sockets=read.integer("CHATD_MAX_SOCKETS", 5000, least=1),
        lease_seconds=read.number("CHATD_LEASE_SECONDS", 30, least=1),
        lease_renew_seconds=read.number("CHATD_LEASE_RENEW_SECONDS", 10, least=0.1),
        sweep_seconds=read.number("CHATD_SWEEP_SECONDS", 2, least=0.1),
        pending_resend_seconds=read.number("CHATD_PENDING_RESEND_SECONDS", 2, least=0.1),
        action_timeout_seconds=read.number("CHATD_ACTION_TIMEOUT_SECONDS", 300, least=1),
        stream_silence_seconds=read.number("CHATD_STREAM_SILENCE_SECONDS", 600, least=0.1),
        retry_first_delay_seconds=read.number("CHATD_RETRY_FIRST_DELAY_SECONDS", 1),
        retry_max_delay_seconds=read.number("CHATD_RETRY_MAX_DELAY_SECONDS", 60),
        flush_window_seconds=read.number("CHATD_FLUSH_WINDOW_SECONDS", 0.08),
        heal_seconds=read.number("CHATD_HEAL_SECONDS", 3, least=0.1),
        ping_seconds=read.number("CHATD_PING_SECONDS", 15, least=0.1),
        side_calls=read.flag("CHATD_SIDE_CALLS", default=True),
        demo_pace=read.number("CHATD_DEMO_PACE", 1),
        older_clients=read.flag("CHATD_OLDER_CLIENTS", default=False),
        sharing_disabled=read.flag("CHATD_DISABLE_SHARING", default=False),
        allow_byok=read.flag("CHATD_ALLOW_BYOK", default=True),
        aws_region=read.text("AWS_REGION") or read.text("AWS_DEFAULT_REGION", "us-east-1"),
        force_debug_logging=read.flag("CHATD_FORCE_DEBUG_LOGGING", default=False),
        token_max_days=read.integer("CHATD_TOKEN_MAX_DAYS", 365, least=1),
        audit_days=read.integer("CHATD_AUDIT_DAYS", 365),
        api_rate_limit=read.integer("CHATD_API_RATE_LIMIT", 512),
        upload_rate_limit=read.integer("CHATD_UPLOAD_RATE_LIMIT", 240),
        sign_in_rate_limit=read.integer("CHATD_SIGN_IN_RATE_LIMIT", 10),
        trusted_proxies=read.names("CHATD_TRUSTED_PROXIES") or ("127.0.0.1", "::1"),
        session_days=read.integer("CHATD_SESSION_DAYS", 7, least=1),
        single_sign_on=_read_single_sign_on(read),
        metrics_allowed=read.networks("CHATD_METRICS_ALLOWED"),
        metrics_token=read.text("CHATD_METRICS_TOKEN"),
        metrics_port=read.integer("CHATD_METRICS_PORT", 0),
        traces=_read_traces(read),
        metrics_dir=read.text("PROMETHEUS_MULTIPROC_DIR"),
        migration_wait_seconds=read.number("CHATD_MIGRATION_WAIT_SECONDS", 600),
        migration_lock_seconds=read.number("CHATD_MIGRATION_LOCK_SECONDS", 10, least=0.1),
    )


def _read_single_sign_on(read: _Reader) -> SingleSignOn | None:
    """Return the OpenID provider, None when nothing of one was given."""
    if not read.gives_any(_OIDC_NEEDED[0].removesuffix("ISSUER")):
        return None
    for name in _OIDC_NEEDED:
        if not read.text(name):
            raise EnvironmentError_(
                f"{name} is missing: sign-in with an OpenID provider needs {_OIDC_LISTED}."
            )
    found = SingleSignOn(
        issuer=read.text("CHATD_OIDC_ISSUER"),
        client_id=read.text("CHATD_OIDC_CLIENT_ID"),
        client_secret=read.text("CHATD_OIDC_CLIENT_SECRET"),
        label=read.text("CHATD_OIDC_LABEL", "Single sign-on"),
        scopes=tuple(
            read.text("CHATD_OIDC_SCOPES", "openid profile email").replace(",", " ").split()
        ),
        email_claim=read.text("CHATD_OIDC_EMAIL_CLAIM", "email"),
        username_claim=read.text("CHATD_OIDC_USERNAME_CLAIM", "preferred_username"),
        name_claim=read.text("CHATD_OIDC_NAME_CLAIM", "name"),
        groups_claim=read.text("CHATD_OIDC_GROUPS_CLAIM"),
        groups=read.mapping("CHATD_OIDC_GROUPS"),
        create_groups=read.flag("CHATD_OIDC_CREATE_GROUPS", default=False),
        roles=read.mapping("CHATD_OIDC_ROLES", allowed=_SITE_ROLES),
        create_people=read.flag("CHATD_OIDC_CREATE_PEOPLE", default=True),
        email_domains=tuple(
            domain.lower().removeprefix("@") for domain in read.names("CHATD_OIDC_EMAIL_DOMAINS")
        ),
        trust_emails=read.flag("CHATD_OIDC_TRUST_EMAILS", default=False),
        passwords=read.flag("CHATD_OIDC_PASSWORDS", default=True),
    )
    _check_single_sign_on(found)
    return found


_TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_PROTOCOL = "http/protobuf"


def _read_traces(read: _Reader) -> Traces | None:
    """Return where traces go; None when no collector is named, or they are switched off."""
    base = read.text(_TRACES).rstrip("/")
    if not base or read.flag("OTEL_SDK_DISABLED", default=False):
        return None
    if not _is_plain_url(base):
        raise EnvironmentError_(
            f"{_TRACES} must be the http or https URL of a collector without a name or password"
            " in it; what it asks for goes into OTEL_EXPORTER_OTLP_HEADERS."
        )
    protocol = read.text("OTEL_EXPORTER_OTLP_PROTOCOL", _TRACES_PROTOCOL)
    if protocol != _TRACES_PROTOCOL:
        raise EnvironmentError_(
            f"OTEL_EXPORTER_OTLP_PROTOCOL can be {_TRACES_PROTOCOL} only, got {protocol!r}."
        )
    if not _is_installed("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        raise EnvironmentError_(
            f"{_TRACES} is set, but the extra `otel` is not installed: install"
            " requirements-otel.lock, or unset the variable."
        )
    return Traces(
        url=f"{base}/v1/traces",
        headers=read.headers("OTEL_EXPORTER_OTLP_HEADERS"),
        service_name=read.text("OTEL_SERVICE_NAME", "chatd"),
    )


def _is_plain_url(url: str) -> bool:
    parts = _parts_with_host(url)
    return parts is not None and parts.scheme in ("http", "https") and "@" not in parts.netloc


def _is_installed(*packages: str) -> bool:
    try:
        return all(find_spec(package) for package in packages)
    except ModuleNotFoundError:
        return False


_OIDC_NEEDED = ("CHATD_OIDC_ISSUER", "CHATD_OIDC_CLIENT_ID", "CHATD_OIDC_CLIENT_SECRET")
_OIDC_LISTED = f"{', '.join(_OIDC_NEEDED[:-1])} and {_OIDC_NEEDED[-1]}"
_MAX_ISSUER = 512
_GROUP_NAME = re.compile(r"(?=.{1,36}$)[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*")


def _check_single_sign_on(found: SingleSignOn) -> None:
    if not is_safe_url(found.issuer) or "?" in found.issuer or len(found.issuer) > _MAX_ISSUER:
        raise EnvironmentError_(
            "CHATD_OIDC_ISSUER must be the https URL that the provider calls itself"
            f" (http on this host alone), got {found.issuer!r}."
        )
    if "openid" not in found.scopes:
        raise EnvironmentError_("CHATD_OIDC_SCOPES must include openid.")
    for name in found.groups.values():
        if not _GROUP_NAME.fullmatch(name) or name.lower() == "everyone":
            raise EnvironmentError_(
                "CHATD_OIDC_GROUPS may lead to names of groups only (1 to 36 letters, digits and"
                f" single dashes, not everyone), got {name!r}."
            )
    uses_groups = {
        "CHATD_OIDC_GROUPS": bool(found.groups),
        "CHATD_OIDC_ROLES": bool(found.roles),
        "CHATD_OIDC_CREATE_GROUPS": found.create_groups,
    }
    for name, is_used in uses_groups.items():
        if is_used and not found.groups_claim:
            raise EnvironmentError_(f"{name} has no effect without CHATD_OIDC_GROUPS_CLAIM.")


def environment_of_child(**changes: str) -> dict[str, str]:
    """Return the environment of this process with changes, for one that it starts."""
    return {**os.environ, **changes}


env = read_environment(os.environ)
