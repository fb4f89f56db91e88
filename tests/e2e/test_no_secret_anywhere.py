"""Every kind of secret goes in once; then every page, answer, log line and stored byte is searched.

`test_no_secrets` follows one provider key through turns. Here an administrator and others use the
whole control plane, rightly and wrongly, and a crawler opens everything that can be opened. What
they do is in `leaks/`; the kinds of secrets are the rows of `KINDS` there.
"""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from urllib.parse import quote_plus

import pytest

from tests.e2e.leaks import mcp_servers, people, providers, single_sign_on
from tests.e2e.leaks.evidence import (
    ENCRYPTION_KEY,
    KINDS,
    LATER_ENCRYPTION_KEY,
    OTHER_ENCRYPTION_KEY,
    Secrets,
    holders,
    kept_by,
)
from tests.e2e.leaks.visitor import Visitor
from tests.e2e.provider import ScriptedProvider
from tests.support import oidc
from tests.support.authorization import AuthorizationServer
from tests.support.oidc_recorder import RecordingProvider
from tests.support.product import Product, Web, embedded, split

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CHATS = "/api/experimental/chats"


@dataclass
class Run:
    """All bytes that came or stayed by where, the secrets, and which pages were opened."""

    secrets: Secrets = field(default_factory=Secrets)
    found: dict[str, bytes] = field(default_factory=dict)
    pages: set[str] = field(default_factory=set)

    def note(self, *visitors: Visitor) -> None:
        for visitor in visitors:
            self.found |= {name: text.encode() for name, text in visitor.seen.items()}

    def manage(self, product: Product, *arguments: str, fails: bool = False) -> None:
        done = product.manage(*arguments, check=not fails)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        name = f"manage.py {' '.join(arguments)} ({len(self.found)})"
        self.found[name] = (done.stdout + done.stderr).encode()


@pytest.fixture(scope="module")
def run(any_server_url: str) -> Iterator[Run]:
    made = Run()
    with ExitStack() as stack:
        provider = stack.enter_context(ScriptedProvider())
        authorization = stack.enter_context(AuthorizationServer())
        issuer = stack.enter_context(oidc.provider_process())
        openid = stack.enter_context(RecordingProvider(issuer))
        settings = _settings(made.secrets, openid.issuer)
        deployment = split(any_server_url, **settings) if any_server_url else embedded(**settings)
        product = stack.enter_context(deployment)
        web = _started(product)
        root = Visitor("root", web, product.token())
        made.secrets.keep("token of a command", people.secret_of(root.token))
        _use_everything(made, root, product, provider, authorization, openid)
        made.found |= kept_by(product, "while it runs")
        _back_up(made, product)
        _lose_a_key(made, root, product)
        made.note(root)
        made.found |= kept_by(product, "in the end")
        made.found |= {f"log of {each.name}": each.log.encode() for each in product.processes}
        yield made


def _settings(secrets: Secrets, issuer: str) -> dict[str, str]:
    single = oidc.environment(issuer, **single_sign_on.GROUPS)
    secrets.keep("sign-in client secret", oidc.CLIENT_SECRET)
    return single | {
        "CHATD_LOG_LEVEL": "DEBUG",
        "CHATD_FORCE_DEBUG_LOGGING": "1",
        "CHATD_ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "CHATD_SECRET_KEY": secrets.plant("session secret"),
        "CHATD_API_RATE_LIMIT": "0",
    }


def _started(product: Product) -> Web:
    if product.redis is None:
        return product.up()
    product.worker()
    return product.web()


def _use_everything(
    run: Run,
    root: Visitor,
    product: Product,
    provider: ScriptedProvider,
    authorization: AuthorizationServer,
    openid: RecordingProvider,
) -> None:
    secrets = run.secrets
    providers.use_providers(root, provider, secrets)
    pia = people.bring_somebody_in(root, secrets)
    people.sign_in_to_pages(root, secrets)
    people.administer_people(root, secrets)
    providers.use_provider_forms(root, provider, secrets)
    mcp_servers.administer_servers(root, secrets)
    mcp_servers.administer_servers_by_forms(root, secrets)
    servers = [mcp_servers.use_discovery(root, authorization, secrets)]
    for method in ("client_secret_basic", "client_secret_post"):
        made = mcp_servers.set_up_by_hand(root, authorization, secrets, method=method)
        servers.append(made)
    for person in (root, pia):
        for server_id in servers:
            mcp_servers.connect_and_part(person, server_id, authorization, secrets)
    strangers = single_sign_on.sign_people_in(root.web, product, openid, secrets)
    providers.take_turns(root, product, provider, secrets)
    _call_every_get(root)
    people.export_the_audit_log(root)
    run.pages |= root.crawl("/admin/", "/chats", "/settings")
    for person in (pia, strangers[0]):
        run.pages |= person.crawl("/chats", "/settings")
    for path in ("/readyz", "/healthz", "/metrics"):
        root.get(path)
    run.note(pia, *strangers)
    run.manage(product, "check")
    run.manage(product, "rotate_keys", "--check")


def _back_up(run: Run, product: Product) -> None:
    backup = product.folder / "everything.backup"
    run.manage(product, "backup", str(backup))
    run.found["backup"] = backup.read_bytes()
    run.found["backup, decompressed"] = gzip.decompress(run.found["backup"])


def _call_every_get(root: Visitor) -> None:
    document = root.api("GET", "/api/openapi.json")
    chat = root.api("GET", CHATS)[0]["id"]
    known = {"chat": chat, "user": "me", "organization": "default", "org": "default"}
    for path, operations in document["paths"].items():
        names = re.findall(r"{(\w+)}", path)
        if "get" in operations and all(name in known for name in names):
            if "101" in operations["get"]["responses"]:
                continue
            root.api("GET", path.format(**known))


def _lose_a_key(run: Run, root: Visitor, product: Product) -> None:
    """Open what has secrets while none of them can be decrypted, then rotate the keys."""
    _stop(product)
    product.environment["CHATD_ENCRYPTION_KEYS"] = OTHER_ENCRYPTION_KEY
    root.web = product.up() if product.redis is None else product.web()
    assert json.loads(root.get("/readyz").text)["status"] == "degraded"
    root.api("GET", mcp_servers.SERVERS)
    for page in sorted(run.pages):
        if page.startswith(("/admin/mcp/", "/admin/providers/")) and page.endswith("/change/"):
            root.get(page)
    for page in ("/admin/", mcp_servers.ADMIN, "/admin/providers/aiprovider/", "/settings/keys"):
        root.get(page)
    run.manage(product, "check")
    run.manage(product, "rotate_keys", "--check", fails=True)
    _stop(product)
    keys = f"{LATER_ENCRYPTION_KEY},{ENCRYPTION_KEY}"
    product.environment["CHATD_ENCRYPTION_KEYS"] = keys
    run.manage(product, "rotate_keys")


def _stop(product: Product) -> None:
    for each in product.processes:
        if each.is_alive:
            each.terminate()


def test_no_secret_is_anywhere(run: Run) -> None:
    """One test of all kinds: shared out to several processes, each would do everything again."""
    _check_that_all_was_looked_at(run)
    assert [kind for kind in KINDS if not run.secrets.texts[kind]] == [], "there was none"
    leaks = [
        f"{kind}: {place}"
        for kind in KINDS
        for place in sorted(
            {p for text in run.secrets.texts[kind] for p in holders(run.found, text)}
        )
    ]
    if leaks:
        pytest.fail("\n".join(["Secrets were found.", *leaks]), pytrace=False)


def _check_that_all_was_looked_at(run: Run) -> None:
    stored = [name for name in run.found if "audit" in name and name.startswith("rows of")]
    assert stored
    for page in (
        "/admin/audit/auditentry/",
        "/admin/providers/aiprovider/",
        "/admin/mcp/mcpserverconfig/",
        "/admin/accounts/user/",
        "/admin/accounts/apikey/",
        "/chats",
        "/settings/tokens",
        "/settings/keys",
    ):
        assert page in run.pages
    for told, where in (
        ("by-form", "rows of"),
        ("Server form-headers", "page /admin/mcp/mcpserverconfig/"),
        ("Server form-headers", "form /admin/audit/auditentry/"),
        ("first", "page /admin/audit/auditentry/"),
        ("rana", "page /admin/accounts/user/"),
        ("dora-at-the-provider at ", "page /admin/accounts/user/"),
        ("an MCP token was not refreshed", "log of"),
        ("single sign-on refused", "log of"),
        ("/oauth2/callback", "log of"),
        ("secrets re-sealed", "manage.py rotate_keys"),
        ("degraded", "page /readyz"),
        ("Bad key [REDACTED]", "rows of chats_chatdebugstep"),
        ("dora-at-the-provider", "backup, decompressed"),
    ):
        texts = [text for name, text in run.found.items() if where in name]
        assert any(told.encode() in text for text in texts), (told, where)


@pytest.mark.parametrize(
    "written",
    [
        "{}",
        "Basic of us:{}",
        json.dumps({"key": "{}"}).replace("{}", 'a"{}'),
    ],
)
@pytest.mark.parametrize("secret", ["canary-5d1f-é", "with+signs/&<=>"])
def test_a_secret_would_be_found(secret: str, written: str) -> None:
    plain = written.replace("{}", secret).encode()
    for text in (
        plain,
        b64encode(plain),
        b64encode(b"x" + plain),
        plain.hex().encode(),
        json.dumps(plain.decode()).encode(),
        quote_plus(plain.decode()).encode(),
    ):
        assert holders({"here": b"before " + text + b" after"}, secret) == ["here"]
