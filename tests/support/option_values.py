"""Values of every option of a model: those that are taken, and those that are not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chatd.llm.options import PARAMETERS, SECTIONS, Option, OptionType, kinds_of

UNKNOWN = "nobody knows this one"


@dataclass(frozen=True)
class Tried:
    """An option where it stands, with a kind of provider that takes it."""

    path: tuple[str, ...]
    option: Option
    kind: str

    @property
    def name(self) -> str:
        return ".".join(self.path)

    def config(self, value: Any) -> dict[str, Any]:
        """Return a call config with nothing but this value."""
        for key in reversed(self.path):
            value = {key: value}
        return dict(value)

    @property
    def taken(self) -> list[Any]:
        option = self.option
        match option.type:
            case OptionType.ENUM:
                return [*option.values, option.values[0].swapcase(), f" {option.values[0]} "]
            case OptionType.NUMBER | OptionType.INTEGER:
                inside = [bound for bound in (option.least, option.most) if bound is not None]
                return [int(bound) for bound in inside] or [7]
            case OptionType.BOOLEAN:
                return [True, False]
            case OptionType.LIST if option.members:
                return [[{each.key: each.values[0].lower()} for each in option.members]]
            case OptionType.LIST:
                return [list(option.values) or ["a text"]]
            case OptionType.OBJECT:
                return [{"1": -100}, {"1": 100}] if option.items else [{"a": "b"}]
            case _:
                return ["a text"]

    @property
    def refused(self) -> list[Any]:
        return [*self._wrong_types(), *self.beyond]

    def _wrong_types(self) -> list[Any]:
        match self.option.type:
            case OptionType.NUMBER:
                return ["1", True, []]
            case OptionType.INTEGER:
                return ["1", 1.5, True, []]
            case OptionType.BOOLEAN:
                return ["true", 1, []]
            case OptionType.LIST:
                return ["a", {}, [1]]
            case OptionType.OBJECT:
                return ["a", [], 1]
            case _:
                return [1, True, [], {}]

    @property
    def beyond(self) -> list[Any]:
        """Return values of the right type that are not taken."""
        option = self.option
        match option.type:
            case OptionType.ENUM:
                return [UNKNOWN, option.values[0] + "x"]
            case OptionType.NUMBER | OptionType.INTEGER:
                least = [] if option.least is None else [int(option.least) - 1]
                return least + ([] if option.most is None else [int(option.most) + 1])
            case OptionType.LIST if option.members:
                return [[{each.key: UNKNOWN}] for each in option.members]
            case OptionType.LIST if option.values:
                return [[UNKNOWN], [option.values[0], UNKNOWN]]
            case OptionType.OBJECT if option.items:
                return [{"1": -101}, {"1": 101}]
            case _:
                return []


def _tried(options: tuple[Option, ...], above: tuple[str, ...], kind: str) -> Iterator[Tried]:
    for option in options:
        path = (*above, option.key)
        if option.members and option.type is OptionType.OBJECT:
            yield from _tried(option.members, path, kind)
        else:
            yield Tried(path, option, kind or option.kinds[0])


EVERY = [
    *_tried(PARAMETERS, (), ""),
    *(
        tried
        for key, options in SECTIONS.items()
        for tried in _tried(options, ("provider_options", key), kinds_of(key)[0])
    ),
]
