"""Sign-ins with a real OpenID provider: those that succeed, and those that are refused."""

from urllib.parse import urlsplit

from tests.e2e.leaks.evidence import Secrets
from tests.e2e.leaks.visitor import Visitor
from tests.support import oidc
from tests.support.oidc_recorder import RecordingProvider
from tests.support.product import Product, Web

GROUPS = {"GROUPS_CLAIM": "groups", "GROUPS": '{"Developers": "dev-team"}'}

_RENEW = """
from datetime import timedelta
from chatd.accounts.models import ExternalIdentity
from chatd.accounts.oidc.tokens import oidc_token_for
from chatd.core.clock import now
identity = ExternalIdentity.objects.get(subject="dora-at-the-provider")
ExternalIdentity.objects.filter(pk=identity.pk).update(token_expires_at=now() - timedelta(hours=1))
print("renewed" if oidc_token_for(identity.user) else "refused")
"""


def sign_people_in(
    web: Web, product: Product, provider: RecordingProvider, secrets: Secrets
) -> list[Visitor]:
    """Return who tried to sign in, the first of them being Dora, who is let in."""
    dora, erik, nora = (Visitor(name, web) for name in ("dora", "erik", "nora"))
    back = oidc.let_in(_leave(dora, secrets), "dora-at-the-provider")
    _come(dora, back, secrets, status=200)
    _come(dora, back, secrets, status=400)  # a state is good once
    there = _leave(erik, secrets)
    # this provider leaves the state out when it refuses
    back = f"{oidc.cancel(there)}&state={oidc.query_of(there)['state']}"
    _come(erik, back, secrets, status=403)
    back = oidc.let_in(_leave(erik, secrets), "erik-at-the-provider")
    provider.refuses = True
    _come(erik, back, secrets, status=403)
    outputs = [product.manage("shell", "--no-imports", "-v", "0", "-c", _RENEW)]
    provider.refuses = False
    back = oidc.let_in(_leave(nora, secrets), "nora-at-the-provider")
    _come(nora, back, secrets, status=403)  # her address is not verified
    outputs.append(product.manage("shell", "--no-imports", "-v", "0", "-c", _RENEW))
    assert [done.stdout.split()[-1] for done in outputs] == ["refused", "renewed"]
    dora.seen |= {f"renewal {n}": done.stdout + done.stderr for n, done in enumerate(outputs)}
    _keep_what_passed(provider, secrets)
    return [dora, erik, nora]


def _leave(person: Visitor, secrets: Secrets) -> str:
    """Press the button; return where the provider is."""
    sent = person.submit("/login/oidc", {"next": ""}, page="/login", keep=False, follow=False)
    assert sent.status_code == 302, sent.text
    asked = oidc.query_of(sent.headers["Location"])
    secrets.keep("sign-in state", asked["state"])
    secrets.keep("sign-in nonce", asked["nonce"])
    return sent.headers["Location"]


def _come(person: Visitor, back: str, secrets: Secrets, *, status: int) -> None:
    """Come back from the provider, and see a page of this status."""
    if code := oidc.query_of(back).get("code"):
        secrets.keep("sign-in code", code)
    place = urlsplit(back)
    answer = person.get(f"{place.path}?{place.query}")
    assert answer.status_code == status, answer.text


def _keep_what_passed(provider: RecordingProvider, secrets: Secrets) -> None:
    assert set(provider.client_secrets) == secrets.texts["sign-in client secret"]
    for form in provider.forms:
        if "code_verifier" in form:
            secrets.keep("sign-in verifier", form["code_verifier"])
    for answer in provider.tokens:
        for kind, name in (
            ("sign-in access token", "access_token"),
            ("sign-in refresh token", "refresh_token"),
            ("sign-in ID token", "id_token"),
        ):
            if name in answer:
                secrets.keep(kind, answer[name])
