"""What a setting is: a key, a value with a text form, a check, and who may see and change it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from chatd.accounts.policy import SiteRight

T = TypeVar("T")


def any_value(value: T) -> T:
    """The check of a setting that may have every value of its type."""
    return value


class Kind(Enum):
    """What a value is, for who shows or asks for it."""

    TEXT = auto()
    """A text for models, of many lines."""
    FLAG = auto()
    DAYS = auto()
    DURATION = auto()
    """Milliseconds."""
    MODEL = auto()
    """The id of a model config."""
    CHOICE = auto()
    """One of `choices`."""
    IDS = auto()
    ADVISOR = auto()
    PERSONAL_MODEL = auto()
    PERCENT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T]):
    """One setting, of the deployment or of each person.

    `decode` returns None for a text that cannot be understood and never raises. `check` returns
    the value to be stored, or raises ChatdError 400. `read_right` is None when everybody who is
    signed in may read it. A setting with a `parameter` stands for one setting per value of it:
    see `of`. `notice` is the kind of change that other programs are told of. While it is not
    `in_effect` it is kept and shown, but what it governs is not built yet. `empty` says what holds
    where no model is chosen. `help` speaks of the text that is stored; `hint` stands beside the
    field of a form instead, where that is another one.
    """

    key: str
    label: str
    help: str
    default: T
    decode: Callable[[str], T | None]
    encode: Callable[[T], str]
    kind: Kind
    check: Callable[[T], T] = any_value
    read_right: SiteRight | None = None
    hides_refused_writes: bool = False
    parameter: str = ""
    notice: str = ""
    in_effect: bool = True
    choices: tuple[str, ...] = ()
    empty: str = ""
    hint: str = ""

    @property
    def form_hint(self) -> str:
        return self.hint or self.help

    @property
    def is_idle(self) -> bool:
        return not self.in_effect

    def of(self, parameter: object) -> "Setting[T]":
        """Return the setting for one value of the parameter."""
        return replace(self, key=f"{self.key}{parameter}", parameter="")

    def to(self, value: T) -> "Assignment":
        """Return the value in the form in which it is stored. Raises ChatdError 400."""
        return Assignment(self, self.encode(self.check(value)))


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """Settings that belong together, under a heading."""

    title: str
    settings: tuple[Setting[Any], ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A setting and the text it is to have; made by `Setting.to`."""

    setting: Setting[Any]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Generic[T]):
    """The value of a setting: the default when nothing is stored, or what cannot be understood."""

    value: T
    is_set: bool
    is_malformed: bool


class Values:
    """The values of some settings, read together. An empty text counts as nothing stored."""

    def __init__(self, asked: Iterable[Setting[Any]], texts: Iterable[tuple[str, str]]) -> None:
        self._texts: Mapping[str, str] = dict.fromkeys((each.key for each in asked), "") | dict(
            texts
        )

    def __getitem__(self, setting: Setting[T]) -> T:
        return self.stored(setting).value

    def stored(self, setting: Setting[T]) -> Stored[T]:
        """Return the value and how it came about. Raises KeyError if it was not asked for."""
        text = self._texts[setting.key]
        value = setting.decode(text) if text else None
        return Stored(
            value=setting.default if value is None else value,
            is_set=bool(text),
            is_malformed=bool(text) and value is None,
        )
