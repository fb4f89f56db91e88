"""Which values the options of a model take, beyond their type.

Belongs here: known values and bounds, and the words of a refusal. Does not belong here: types
(`call_config`), what a wire sends of a value that was stored before it was checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatd.llm.options import PARAMETERS, SECTIONS, Option, OptionType

SECTIONS_KEY = "provider_options"


@dataclass(frozen=True, slots=True)
class RefusedValue:
    """One value that is not taken: where it stands, and what it has to be."""

    path: str
    advice: str

    @property
    def sentence(self) -> str:
        return f"{self.path} {self.advice}."


class RefusedOptions(ValueError):  # noqa: N818 - what was refused, not how
    """Options with values that are not taken."""

    def __init__(self, refused: Sequence[RefusedValue]) -> None:
        super().__init__(" ".join(each.sentence for each in refused))
        self.refused = tuple(refused)


def refused_values(options: Mapping[str, Any]) -> list[RefusedValue]:
    """Return what is not taken of options in normal form, in the order of the schema."""
    refused = [*_refused(options, PARAMETERS, "")]
    sections = options.get(SECTIONS_KEY) or {}
    for key, members in SECTIONS.items():
        refused += _refused(sections.get(key) or {}, members, f"{SECTIONS_KEY}.{key}.")
    return refused


def is_known(option: Option, value: str) -> bool:
    """Tell whether a text is one of the values of an option, in any case; blank is no value."""
    return canonical(option, value) is not None or not value.strip()


def canonical(option: Option, value: str) -> str | None:
    """Return a known value as the schema writes it, None for an unknown one."""
    wanted = value.strip().lower()
    return next((known for known in option.values if known.lower() == wanted), None)


def _refused(
    given: Mapping[str, Any], options: Sequence[Option], above: str
) -> Iterator[RefusedValue]:
    for option in options:
        value, path = given.get(option.key), f"{above}{option.key}"
        if value is None:
            continue
        if not option.members:
            if advice := _advice(option, value):
                yield RefusedValue(path, advice)
        elif option.type is OptionType.LIST:
            for at, item in enumerate(value):
                yield from _refused(item, option.members, f"{path}[{at}].")
        else:
            yield from _refused(value, option.members, f"{path}.")


def _advice(option: Option, value: Any) -> str:
    """Return what a value has to be; nothing for one that is taken."""
    match option.type:
        case OptionType.ENUM:
            return "" if is_known(option, value) else f"must be one of {_listed(option)}"
        case OptionType.LIST if option.values:
            is_fine = all(is_known(option, item) for item in value)
            return "" if is_fine else f"must hold only {_listed(option)}"
        case OptionType.NUMBER | OptionType.INTEGER:
            return "" if _is_within(option, value) else f"must be {bounds_of(option)}"
        case OptionType.OBJECT if option.items:
            is_fine = all(_is_within(option, number) for number in value.values())
            return "" if is_fine else f"must hold only numbers {bounds_of(option)}"
        case _:
            return ""


def bounds_of(option: Option) -> str:
    """Return the bounds of an option in words; nothing where it has none."""
    least, most = option.least, option.most
    if least is not None and most is not None:
        return f"from {least:g} to {most:g}"
    if least is not None:
        return f"at least {least:g}"
    return "" if most is None else f"at most {most:g}"


def _is_within(option: Option, number: float) -> bool:
    least, most = option.least, option.most
    return (least is None or number >= least) and (most is None or number <= most)


def _listed(option: Option) -> str:
    return ", ".join(option.values)
