"""Bedrock: frames of AWS, addresses, signatures."""

import json
import struct
from dataclasses import replace
from datetime import UTC, datetime
from zlib import crc32

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd.chattest.bedrock import chunk_frame, exception_frame, frame
from chatd.llm.types import AwsAccess, Provider, Request
from chatd.llm.wires import bedrock
from chatd.llm.wires.bedrock import frames, signing
from chatd.llm.wires.bedrock.address import model_id, url_of
from chatd.llm.wires.bedrock.frames import EventStreamFrames
from chatd.llm.wires.bedrock.signing import signed_headers

HEADERS = {":event-type": "chunk", ":message-type": "event"}
ACCESS = AwsAccess(region="eu-central-1", access_key="AKIA", access_key_secret="s/e+c=")
AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
PROVIDER = Provider(kind="bedrock", base_url="", aws=ACCESS)


def read(*chunks):
    framing = EventStreamFrames()
    return [data for chunk in chunks for data in framing.feed(chunk)]


def test_frames_are_read_in_any_cut():
    body = chunk_frame({"type": "a"}) + chunk_frame({"type": "b", "text": "ü"})
    whole = [b'{"type":"a"}', '{"type":"b","text":"ü"}'.encode()]
    assert read(body) == whole
    assert read(*(body[at : at + 1] for at in range(len(body)))) == whole
    for cut in range(len(body)):
        assert read(body[:cut], body[cut:]) == whole


def test_every_bit_that_is_wrong_is_noticed():
    body = chunk_frame({"type": "a"})
    for at in range(1, len(body)):
        spoilt = bytearray(body)
        spoilt[at] ^= 1
        with pytest.raises(ValueError, match="frame"):
            read(bytes(spoilt))


@pytest.mark.parametrize(
    ("size", "headers"), [(2**31, 0), (frames.MAX_FRAME_BYTES + 1, 0), (15, 0), (100, 90), (0, 0)]
)
def test_a_size_that_cannot_be_is_refused_before_its_bytes_come(size, headers):
    prelude = struct.pack(">II", size, headers)
    with pytest.raises(ValueError, match="size"):
        read(prelude + struct.pack(">I", crc32(prelude)))


def test_headers_of_every_type_are_skipped():
    raw = b""
    for kind, value in ((0, b""), (1, b""), (2, b"x"), (3, b"xx"), (4, b"x" * 4), (5, b"x" * 8)):
        raw += b"\x01a" + bytes([kind]) + value
    raw += b"\x01b\x06\x00\x03xyz" + b"\x01c\x08" + b"x" * 8 + b"\x01d\x09" + b"x" * 16
    raw += b"\x0d:message-type\x07\x00\x05event"
    assert frames._read_headers(raw) == {":message-type": "event"}
    for torn in (raw[:-1], raw + b"\x09", raw + b"\x01a\x63"):
        with pytest.raises(ValueError, match="torn"):
            frames._read_headers(torn)


def test_exceptions_and_errors_become_error_events():
    told = read(exception_frame("throttlingException", "Slow down"))
    error = {"type": "throttlingException", "message": "Slow down", "code": 429}
    assert [json.loads(each) for each in told] == [{"type": "error", "error": error}]
    headers = {":message-type": "error", ":error-code": "Odd", ":error-message": "It broke"}
    [told] = read(frame(headers, b""))
    assert json.loads(told)["error"] == {"type": "Odd", "message": "It broke"}


@pytest.mark.parametrize("payload", [b"", b"{", b"5", b'{"bytes": 5}', b'{"bytes": "%%"}'])
def test_a_frame_without_an_event_is_refused(payload):
    with pytest.raises(ValueError, match="no event"):
        read(frame(HEADERS, payload))


def test_other_events_are_ignored():
    assert read(frame({**HEADERS, ":event-type": "new"}, b'{"other": 1}')) == []


@given(junk=st.binary(max_size=200), cut=st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_junk_is_refused_or_waited_for(junk, cut):
    framing = EventStreamFrames()
    try:
        assert framing.feed(junk[:cut]) + framing.feed(junk[cut:]) == []
    except ValueError:
        return
    assert framing.close() == []


def test_an_answer_that_is_text_is_the_error_it_tells_of():
    decoder = bedrock.CODEC.decoder(Request(model="m", messages=()), PROVIDER)
    assert decoder.feed(b'{"message": "Too many requests, ') == []
    assert decoder.feed(b'please wait."}') == []
    decoder.close()
    assert decoder.failure.kind == "rate_limit"


@pytest.mark.parametrize(
    ("model", "region", "called"),
    [
        ("anthropic.claude-x-v1:0", "us-east-1", "us.anthropic.claude-x-v1:0"),
        ("anthropic.claude-x-v1:0", "eu-west-3", "eu.anthropic.claude-x-v1:0"),
        ("us.anthropic.claude-x", "us-east-1", "us.anthropic.claude-x"),
        ("us.anthropic.claude-x", "eu-west-3", "us.anthropic.claude-x"),
        ("global.anthropic.claude-x", "eu-west-3", "global.anthropic.claude-x"),
        ("apac.anthropic.claude-x", "ap-south-1", "apac.anthropic.claude-x"),
        ("us-gov.anthropic.claude-x", "us-gov-west-1", "us-gov.anthropic.claude-x"),
        ("arn:aws:bedrock:x:1:y/z", "us-east-1", "arn:aws:bedrock:x:1:y/z"),
    ],
)
def test_ids_get_the_region_unless_they_have_one(model, region, called):
    assert model_id(model, region) == called


@pytest.mark.parametrize(
    ("kind", "base_url", "host"),
    [
        ("bedrock", "", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        ("bedrock", "http://127.0.0.1:9/aws/", "http://127.0.0.1:9/aws"),
        (
            "anthropic",
            "https://api.anthropic.com/",
            "https://bedrock-runtime.eu-central-1.amazonaws.com",
        ),
        ("anthropic", "https://gateway.example", "https://gateway.example"),
    ],
)
def test_the_address_is_that_of_the_region_unless_one_is_configured(kind, base_url, host):
    provider = Provider(kind=kind, base_url=base_url, aws=ACCESS)
    request = Request(model="us.anthropic.claude-x-v1:0", messages=())
    path = "/model/us.anthropic.claude-x-v1%3A0/invoke"
    assert url_of(request, provider, is_stream=False) == host + path
    assert url_of(request, provider, is_stream=True) == f"{host}{path}-with-response-stream"


@pytest.mark.parametrize("token", ["", "session/token=="])
@pytest.mark.parametrize(
    "url",
    [
        "https://bedrock-runtime.eu-central-1.amazonaws.com/model/eu.a-v1%3A0/invoke",
        "https://h.example:443/model/arn%3Aaws%2Fb%20c/invoke",
        "http://127.0.0.1:8080/p/model/x/invoke?b=2&a=%2F",
    ],
)
def test_signatures_are_those_that_the_sdk_of_aws_makes(url, token, monkeypatch):
    access = replace(ACCESS, session_token=token)
    body = b'{"a": 1}'
    theirs = AWSRequest(method="POST", url=url, data=body)
    signer = SigV4Auth(
        Credentials(access.access_key, access.access_key_secret, token or None),
        "bedrock",
        access.region,
    )
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: AT.replace(tzinfo=None))
    signer.add_auth(theirs)
    ours = signed_headers(access, "POST", url, body, at=AT)
    assert ours["Authorization"] == theirs.headers["Authorization"]
    assert ours.get("x-amz-security-token", "") == token


def test_a_host_of_the_newer_internet_is_in_brackets():
    assert signing._host("http://[::1]:80/x") == "[::1]"
    assert signing._host("http://[::1]:81/x") == "[::1]:81"
