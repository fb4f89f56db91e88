"""AWS credentials of the machine, where none are configured."""

import sys

import pytest
from botocore.exceptions import MetadataRetrievalError

from chatd.chattest.anthropic_wire import FakeAnswer, text
from chatd.chattest.bedrock import BedrockServer
from chatd.llm import aws_credentials
from chatd.llm.aws_credentials import NO_CREDENTIALS, NO_PACKAGE, with_credentials
from chatd.llm.client import complete
from chatd.llm.errors import ErrorKind, LLMError, redact
from chatd.llm.redaction import Redactor
from chatd.llm.types import AwsAccess, Provider, Request, TextBlock, UserMessage

BEDROCK = Provider(kind="bedrock", base_url="", aws=AwsAccess(region="eu-west-1"))


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch, tmp_path):
    """A machine that has none, and asks nobody for them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    session = aws_credentials._session
    session.cache_clear()
    yield
    session.cache_clear()


@pytest.mark.parametrize(
    "provider",
    [
        Provider(kind="anthropic", base_url="", api_key="k"),
        Provider(kind="bedrock", base_url="", api_key="k", aws=AwsAccess(region="r")),
        Provider(
            kind="anthropic",
            base_url="",
            aws=AwsAccess(region="r", access_key="a", access_key_secret="s"),
        ),
    ],
)
async def test_nothing_is_looked_for_where_a_key_is_given(provider, monkeypatch):
    monkeypatch.setattr(aws_credentials, "_session", None)
    assert await with_credentials(provider) == provider


async def test_the_environment_is_used_and_the_answer_comes(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-OF-ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-env")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-env")
    handler = lambda request: FakeAnswer(content=[text("Hello.")])  # noqa: E731
    async with BedrockServer(handler, secrets={"AKIA-OF-ENV": "secret-of-env"}) as server:
        provider = Provider(kind="bedrock", base_url=server.base_url)
        request = Request(
            model="anthropic.claude-x",
            messages=(UserMessage(blocks=(TextBlock(text="Hi"),)),),
        )
        assert (await complete(request, provider, seconds=10)).text == "Hello."
        assert server.requests[0].headers["x-amz-security-token"] == "token-of-env"
        assert server.models == ["us.anthropic.claude-x"]


async def test_without_any_the_error_says_what_to_do():
    with pytest.raises(LLMError) as caught:
        await with_credentials(BEDROCK)
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.CONFIG, False)
    assert caught.value.message == NO_CREDENTIALS


async def test_without_the_package_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(LLMError) as caught:
        await with_credentials(BEDROCK)
    assert (caught.value.kind, caught.value.message) == (ErrorKind.CONFIG, NO_PACKAGE)


async def test_a_machine_that_cannot_be_asked_is_an_error_of_the_configuration(monkeypatch):
    class Session:
        def get_credentials(self):
            raise MetadataRetrievalError(error_msg="no route")

    monkeypatch.setattr(aws_credentials, "_session", Session)
    with pytest.raises(LLMError) as caught:
        await with_credentials(BEDROCK)
    assert caught.value.kind is ErrorKind.CONFIG
    assert "no route" in caught.value.detail


def test_credentials_are_shown_nowhere():
    access = AwsAccess(
        region="eu-west-1",
        access_key="AKIA-HIDDEN",
        access_key_secret="the-secret",
        session_token="the-token",
    )
    provider = Provider(kind="bedrock", base_url="", aws=access)
    said = "AKIA-HIDDEN with the-secret and the-token"
    for shown in (repr(provider), redact(said, provider), Redactor(provider).text(said)):
        assert not any(part in shown for part in ("HIDDEN", "the-secret", "the-token"))
