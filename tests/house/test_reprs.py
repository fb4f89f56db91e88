"""What holds a secret never shows it in its repr: logs and tracebacks print those."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec
import pytest

import chatd
import config

CANARY = "canary-7f3a9c51e2"
SECRET = re.compile(
    r"(.+_)?(password|api_keys?|secret|secret_key|access_key|token|headers|cookies"
    r"|credentials?)"
)
TEXT = re.compile(r"\bstr\b|bytes|Mapping|Wanted|Mutation")


def _modules() -> Iterator[Any]:
    for package in (chatd, config):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def _types(shape: type) -> dict[str, str]:
    """Return the fields of a dataclass or Struct with their types; none of other classes."""
    found: Any = ()
    if is_dataclass(shape):
        found = fields(shape)
    elif issubclass(shape, msgspec.Struct):
        found = msgspec.structs.fields(shape)
    return {field.name: str(field.type) for field in found}


def _secrets(shape: type) -> set[str]:
    return {
        name for name, kind in _types(shape).items() if SECRET.fullmatch(name) and TEXT.search(kind)
    }


def _with_secrets() -> list[type]:
    found = {
        shape
        for module in _modules()
        for shape in vars(module).values()
        if inspect.isclass(shape) and _secrets(shape)
    }
    return sorted(found, key=lambda shape: f"{shape.__module__}.{shape.__qualname__}")


def _filled(shape: Any) -> Any:
    """Return one with the canary wherever the name says that it is a secret."""
    values = {name: CANARY if name in _secrets(shape) else None for name in _types(shape)}
    if not is_dataclass(shape):
        return shape(**values)
    made = object.__new__(shape)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize("shape", _with_secrets(), ids=lambda shape: shape.__name__)
def test_the_repr_hides_every_field_that_sounds_like_a_secret(shape: type) -> None:
    assert CANARY not in repr(_filled(shape))


def test_requests_with_secrets_are_among_those_that_are_looked_at() -> None:
    names = {shape.__name__ for shape in _with_secrets()}
    bodies = {"LoginRequest", "CreateUserRequest", "PasswordRequest", "AIProviderKeyMutation"}
    assert bodies | {"NewPassword", "NewUser", "Credentials", "ModelCall"} <= names
