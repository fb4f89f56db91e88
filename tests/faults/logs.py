"""What processes say while something breaks: lines are counted, tracebacks told."""

import re
from collections import Counter

from tests.support.product import Product

_BEGIN = "Traceback (most recent call last)"
_END = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Timeout|Shutdown)\b.{0,80}", re.M)


class LogWatch:
    """Reads on where it stopped."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._read: dict[str, int] = {}
        self.take()

    def take(self) -> tuple[int, Counter[str]]:
        """Return how many lines there were since the last time, and which tracebacks."""
        lines, found = 0, Counter[str]()
        for process in self._product.processes:
            log = process.log
            new = log[self._read.get(process.name, 0) :]
            self._read[process.name] = len(log)
            lines += new.count("\n")
            for piece in new.split(_BEGIN)[1:]:
                ending = _END.search(piece)
                found[f"{process.name.split()[0]}: {ending[0] if ending else '?'}"] += 1
        return lines, found
