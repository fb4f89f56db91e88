"""The project keeps its own promises: documented settings, complete migrations, no secrets."""

import re
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
SECRET_LIKE = re.compile(
    r"(sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}|xox[bp]-[0-9A-Za-z-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----|gsk_[A-Za-z0-9]{20,})"
)


def _tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_every_environment_variable_is_documented() -> None:
    read = set(
        re.findall(
            r'"((?:CHATD_|DATABASE_|REDIS_|PROMETHEUS_|OTEL_)[A-Z_]+)"', _text("config/env.py")
        )
    )
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", _text("docs/configuration.md"), re.M))
    assert read == documented


def test_only_one_file_reads_the_environment() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in _tracked_files()
        if path.suffix == ".py"
        and not path.is_relative_to(ROOT / "tests")
        and re.search(r"os\.(environ\b(?!\.setdefault)|getenv)", path.read_text())
    ]
    assert readers == ["config/env.py"]


def test_no_file_of_the_project_holds_something_that_looks_like_a_key() -> None:
    found = [
        path.name
        for path in _tracked_files()
        if path.exists()
        and path != Path(__file__)
        and path.suffix not in {".png", ".lock"}
        and SECRET_LIKE.search(path.read_text(errors="replace"))
    ]
    assert found == []


@pytest.mark.django_db
def test_no_model_change_is_without_a_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_commands_of_the_docs_exist() -> None:
    makefile = _text("Makefile")
    named = set(re.findall(r"`make ([a-z-]+)", _text("README.md") + _text("ARCHITECTURE.md")))
    assert named
    assert {name for name in named if f"\n{name}:" not in makefile} == set()


def test_every_module_named_in_the_architecture_exists() -> None:
    named = set(
        re.findall(
            r"`((?:chats|turns|live|sockets|api|web|llm)/[a-z_]+\.py)", _text("ARCHITECTURE.md")
        )
    )
    assert named
    assert {name for name in named if not (ROOT / "chatd" / name).exists()} == set()


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
