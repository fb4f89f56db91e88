"""Bars of days, as a picture that needs no script and as the numbers of a table. No queries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

HEIGHT = 100
STEP = 10
_GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A day; `x`, `y` and `height` are places in the picture, in which a day is 10 wide."""

    day: date
    micros: int
    x: int
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The days of a range, the highest of which is as high as the picture."""

    bars: Sequence[Bar]
    highest: int
    total: int

    @property
    def width(self) -> int:
        return len(self.bars) * STEP

    @property
    def bar_width(self) -> int:
        return STEP - _GAP

    @property
    def first(self) -> date:
        return self.bars[0].day

    @property
    def last(self) -> date:
        return self.bars[-1].day

    @property
    def spent_on(self) -> Sequence[Bar]:
        """The days on which something was spent, or taken back; newest first."""
        return [bar for bar in reversed(self.bars) if bar.micros]


def chart_of(days: Iterable[tuple[date, int]]) -> Chart:
    """Return the chart of what was spent on each day; less than nothing is drawn as nothing."""
    spent = list(days)
    highest = max((micros for _, micros in spent), default=0)
    bars = []
    for number, (day, micros) in enumerate(spent):
        height = round(max(micros, 0) * HEIGHT / highest, 2) if highest > 0 else 0.0
        # a day that cost next to nothing is still seen
        height = max(height, 1.0) if micros > 0 else height
        y = round(HEIGHT - height, 2)
        bars.append(Bar(day=day, micros=micros, x=number * STEP + 1, y=y, height=height))
    return Chart(bars=bars, highest=max(highest, 0), total=sum(micros for _, micros in spent))
