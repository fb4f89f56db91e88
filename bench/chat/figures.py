"""The figures of a run: a table for people, JSON for programs."""

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path


@dataclass(slots=True)
class Figure:
    """One figure: of chatd, of the floor in the same run where there is one, and what is aimed at.

    `aim` is an upper bound in the unit of the figure, or of the ratio when `of_ratio` is set.
    """

    name: str
    unit: str
    chatd: float
    floor: float | None = None
    aim: float | None = None
    of_ratio: bool = False

    @property
    def ratio(self) -> float | None:
        return self.chatd / self.floor if self.floor else None

    @property
    def is_met(self) -> bool | None:
        """True when the aim is reached; None when there is none."""
        judged = self.ratio if self.of_ratio else self.chatd
        return None if self.aim is None or judged is None else judged <= self.aim


@dataclass(slots=True)
class Report:
    """The figures of a run; `subject` is what was measured, as the table calls it."""

    subject: str = "chatd"
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        unit: str,
        chatd: float,
        *,
        floor: float | None = None,
        aim: float | None = None,
        ratio_aim: float | None = None,
    ) -> None:
        bound = aim if ratio_aim is None else ratio_aim
        figure = Figure(name, unit, chatd, floor, bound, of_ratio=ratio_aim is not None)
        self.figures.append(figure)
        print(_line(figure), flush=True)

    def note(self, text: str) -> None:
        self.notes.append(text)
        print(f"  ({text})", flush=True)

    def table(self) -> str:
        """Return the figures as a Markdown table."""
        return "\n".join(self._rows())

    def _rows(self) -> Iterator[str]:
        yield f"{datetime.now(UTC):%Y-%m-%d}, {machine()}"
        yield ""
        yield f"| figure | {self.subject} | floor | ratio | aim | |"
        yield "| --- | ---: | ---: | ---: | ---: | --- |"
        for figure in self.figures:
            floor = "" if figure.floor is None else _number(figure.floor)
            ratio = "" if figure.ratio is None else f"{figure.ratio:.1f}"
            verdict = {True: "met", False: "missed", None: ""}[figure.is_met]
            name = f"{figure.name}, {figure.unit}"
            cells = [name, _number(figure.chatd), floor, ratio, _aim(figure), verdict]
            yield "| " + " | ".join(cells) + " |"
        for note in self.notes:
            yield f"\n{note}"

    def write(self, file: Path) -> None:
        """Write everything as JSON."""
        content = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "figures": [
                asdict(figure) | {"ratio": figure.ratio, "met": figure.is_met}
                for figure in self.figures
            ],
            "notes": self.notes,
        }
        file.write_text(json.dumps(content, indent=1) + "\n")


def machine() -> str:
    """Return what the run was made on."""
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{cores} cores of {names[0] if names else platform.machine()}, " + (
        f"Python {platform.python_version()}"
    )


def _aim(figure: Figure) -> str:
    if figure.aim is None:
        return ""
    return f"≤ {figure.aim:g}{'x' if figure.of_ratio else ''}"


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _line(figure: Figure) -> str:
    ratio = "" if figure.ratio is None else f"  {figure.ratio:6.1f}x"
    verdict = {True: "met", False: "MISSED", None: ""}[figure.is_met]
    floor = "" if figure.floor is None else _number(figure.floor)
    name = f"{figure.name}, {figure.unit}"
    return f"{name:66}{_number(figure.chatd):>10}{floor:>10}{ratio:>9}  {_aim(figure):9} {verdict}"
