"""Django settings. Values of a deployment come from `config.env`, the reader of the environment."""

from pathlib import Path
from typing import Any

import dj_database_url
import django_stubs_ext

from config import administration
from config.env import BASE_DIR, env
from config.logging import configure_logging
from config.secrets import load_secrets

_secrets = load_secrets(env)

SECRET_KEY = _secrets.secret_key
DEBUG = env.debug
ALLOWED_HOSTS = list(env.allowed_hosts) or ["localhost", "127.0.0.1", "[::1]", ".localhost"]
CSRF_TRUSTED_ORIGINS = list(env.csrf_trusted_origins)

INSTALLED_APPS = [
    "unfold",  # before Django's own: its templates and its site take their place
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.inlines",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "channels",
    "allauth.account",
    "allauth.socialaccount",
    "chatd.core",
    "chatd.audit",
    "chatd.accounts",
    "chatd.preferences",
    "chatd.providers",
    "chatd.spending",
    "chatd.mcp",
    "chatd.chats",
    "chatd.live",
    "chatd.turns",
    "chatd.api",
    "chatd.sockets",
    "chatd.web",
    "chatd.launch",
]

MIDDLEWARE = [
    "chatd.core.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "chatd.web.content_policy.ContentPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "chatd.web.middleware.PageErrorMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _database(url: str, sqlite_path: Path) -> dict[str, Any]:
    """SQLite takes its write lock when a transaction begins; PostgreSQL uses Django's pool."""
    config: dict[str, Any] = (
        dict(dj_database_url.parse(url))
        if url
        else {"ENGINE": "django.db.backends.sqlite3", "NAME": str(sqlite_path)}
    )
    if config["ENGINE"].endswith("sqlite3"):
        config["OPTIONS"] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4000;"
            ),
        }
        config["CONN_MAX_AGE"] = None  # a connection belongs to its thread and costs nothing there
        # Threads share no in-memory database, and workers of the tests are threads.
        config["TEST"] = {"NAME": str(sqlite_path.with_name("test.sqlite3"))}
    else:
        if config["ENGINE"].endswith(".postgresql"):
            config["ENGINE"] = "chatd.core.postgresql"
        config["CONN_MAX_AGE"] = 0
        config["OPTIONS"] = {
            **config.get("OPTIONS", {}),
            "prepare_threshold": 5 if env.prepared_statements else None,
            "pool": {
                "min_size": 1,
                "max_size": env.database_threads + 12,
                "timeout": 10,
                "max_idle": 120,
                # Pauses between tries double: after a long outage the next would be far off.
                "reconnect_timeout": 3,
            },
        }
    return config


# Chats, password hashes and sessions are in there: for the owner of the process alone.
env.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
DATABASES = {"default": _database(env.database_url, env.sqlite_path)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "chatd.accounts.backends.UsernameOrEmailBackend",
    "chatd.accounts.backends.SingleSignOnBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Of allauth only the exchange with a provider is used; its pages are not mounted, its tables empty.
SOCIALACCOUNT_ADAPTER = "chatd.accounts.oidc.provider.SignInAdapter"
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/chats"
LOGOUT_REDIRECT_URL = "/login"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = env.secure_cookies
CSRF_COOKIE_SECURE = env.secure_cookies
# The header's name on the wire is part of the contract with existing clients.
CSRF_HEADER_NAME = "HTTP_X_CSRF_TOKEN"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# A window that is opened to connect to an MCP server has to be able to tell that it is done.
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin-allow-popups"

USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "config.formats"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]

# The API reads request bodies itself, under its own caps; forms stay below this.
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["chatd.api.authentication.SessionTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["chatd.api.rendering.ContractJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["chatd.api.parsing.RawBodyParser"],
    "EXCEPTION_HANDLER": "chatd.api.errors.render_exception",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "chatd.api.openapi.DocumentedSchema",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "chatd",
    "VERSION": "0.1.0",
    "DESCRIPTION": "Chats with AI models: create them, send messages, follow the answers as they"
    " stream in. Unknown members of requests are ignored, and `null` is the same as absent; new"
    " members may come in answers. Routes may be called with a slash at the end. Routes that answer"
    " 101 are WebSockets; what is described there is each text frame of them.",
    "LICENSE": {"name": "Apache-2.0"},
    "OAS_VERSION": "3.1.1",
    "POSTPROCESSING_HOOKS": [],
    "DEFAULT_GENERATOR_CLASS": "chatd.api.openapi.DocumentGenerator",
}

if env.redis_url:
    CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [env.redis_url], "prefix": "chatd"},
        }
    }
    LIVE_BACKEND = "chatd.live.redis.RedisBackend"
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "chatd.live.local.LocalChannelLayer"}}
    LIVE_BACKEND = "chatd.live.local.LocalBackend"

CHATD_ENCRYPTION_KEYS = _secrets.encryption_keys

# User names are unique among people who are not deleted, by a partial constraint.
SILENCED_SYSTEM_CHECKS = ["auth.W004"]

UNFOLD = administration.UNFOLD

# Django's generic classes take their type arguments at run time too.
django_stubs_ext.monkeypatch()

LOGGING_CONFIG = None
configure_logging(env)
