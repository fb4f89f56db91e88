"""Reading the text that `/metrics` answers."""

from prometheus_client.parser import text_string_to_metric_families


class Exposition:
    """Parsed metrics. `types`: by full name; `samples`: (name, labels, value)."""

    def __init__(self, text: str) -> None:
        self.types: dict[str, str] = {}
        self.samples: list[tuple[str, dict[str, str], float]] = []
        for family in text_string_to_metric_families(text):
            name = family.name + ("_total" if family.type == "counter" else "")
            assert name not in self.types, f"{name} is there twice"
            self.types[name] = family.type
            self.samples += [(each.name, each.labels, each.value) for each in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Return the value of one sample; 0 while it was never counted."""
        found = [value for each, given, value in self.samples if (each, given) == (name, labels)]
        assert len(found) < 2, f"{name} {labels} is there twice"
        return found[0] if found else 0.0
