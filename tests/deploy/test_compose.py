"""The image and the containers: what they name is there, and what keeps them safe stays."""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from chatd.launch import processes

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, each in SERVICES.items() if "build" in each]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def _seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def test_there_is_every_role() -> None:
    assert {"prepare", "web", "worker", "beat", "postgres", "redis", "nginx"} == set(SERVICES)
    assert OURS == ["prepare", "web", "worker", "beat"]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_nobody_and_write_nowhere(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", list(SERVICES))
def test_each_is_bounded_pinned_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["deploy"]["resources"]["limits"]["memory"]
    image, _, tag = service["image"].partition(":")
    assert image
    assert re.match(r"\d", tag), "a tag that names a version"
    assert "healthcheck" in service


@pytest.mark.parametrize("name", OURS)
def test_what_is_set_is_documented_and_secrets_are_files(name: str) -> None:
    documented = set(
        re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/configuration.md").read_text(), re.M)
    )
    for variable, value in SERVICES[name]["environment"].items():
        assert variable.removesuffix("_FILE") in documented
        if variable.endswith("_FILE"):
            secret = value.removeprefix("/run/secrets/")
            assert secret in SERVICES[name]["secrets"]
        assert not re.search(
            r"PASSWORD|TOKEN|KEY|DATABASE_URL", variable.removesuffix("_FILE")
        ) or (variable.endswith("_FILE"))


def test_every_secret_is_made() -> None:
    made = re.findall(r"^make (\w+) ", (ROOT / "deploy/make-secrets").read_text(), re.M)
    assert {f"deploy/secrets/{name}" for name in made} == {
        each["file"] for each in COMPOSE["secrets"].values()
    }
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text()


def test_the_commands_exist_and_run_what_the_supervisor_runs() -> None:
    for name in OURS:
        program, *rest = SERVICES[name]["command"]
        assert program in ("python", "celery")
        if program == "python":
            assert rest[0] == "manage.py"
            assert rest[1] in get_commands()
    ours = {"-P", "threads", "-Q", "turns,default", "--without-gossip", "--without-mingle"}
    assert ours <= set(SERVICES["worker"]["command"])
    assert {"turns,default", "--without-gossip"} <= _supervised("worker")


def _supervised(role: str) -> set[str]:
    from config.env import env

    return set(dict(processes.commands(env, host="h", port=1))[role])


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_stop_leaves_time_to_hand_over(name: str) -> None:
    assert _seconds(SERVICES[name]["stop_grace_period"]) > processes._STOP_SECONDS


def test_nothing_but_nginx_listens_outside_and_the_databases_reach_nobody() -> None:
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["nginx"]
    assert SERVICES["nginx"]["ports"] == ["${CHATD_LISTEN:-127.0.0.1:8080}:8080"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["inside"]
    (subnet,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert SERVICES["web"]["environment"]["CHATD_TRUSTED_PROXIES"] == subnet["subnet"]


def test_the_image_is_made_of_files_that_are_there_and_not_left_out() -> None:
    let_in = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert any(fnmatch(name, pattern) for pattern in let_in), name
    for needed in ("config", "chatd", "static", "templates", "manage.py"):
        assert any(needed in each.split() for each in copied), needed


def test_the_image_installs_by_hashes_and_runs_as_nobody() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.M) == ["10001"]
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.M) == ["python:3.11-slim-bookworm"] * 2
