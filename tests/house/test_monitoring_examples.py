"""The dashboard and the alerts in the docs read what `/metrics` really shows."""

import json
import re
from pathlib import Path

import yaml

from chatd.core.metrics import DEFINITIONS

FOLDER = Path(__file__).resolve().parents[2] / "docs/monitoring"

_NAME = re.compile(r"\bcoderd_\w+")
_LABELS = re.compile(r"by \(([^)]*)\)|(\w+)=\"")


def _shown() -> dict[str, set[str]]:
    """Return the names of all series, with their labels."""
    found: dict[str, set[str]] = {}
    for each in DEFINITIONS:
        labels = set(each.labels)
        if each.kind == "histogram":
            found |= {f"{each.name}_{part}": labels for part in ("sum", "count")}
            found[f"{each.name}_bucket"] = labels | {"le"}
        else:
            found[each.name] = labels
    return found


def _dashboard() -> list[str]:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def _alerts() -> list[str]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def test_every_expression_reads_what_is_there() -> None:
    shown = _shown()
    for expression in _dashboard() + _alerts():
        names = _NAME.findall(expression)
        assert names, expression
        assert set(names) <= set(shown), expression
        known = set.intersection(*(shown[name] for name in names))
        used = {
            label.strip()
            for listed, matched in _LABELS.findall(expression)
            for label in (listed or matched).split(",")
        }
        assert used <= known, expression


def test_the_dashboard_leaves_no_metric_out() -> None:
    text = " ".join(_dashboard())
    assert [each.name for each in DEFINITIONS if each.name not in text] == []


def test_what_alerts_and_legends_say_of_labels_is_kept_by_their_expression() -> None:
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
    said = [(rule["annotations"]["summary"], rule["expr"]) for rule in rules]
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    said += [(t["legendFormat"], t["expr"]) for panel in panels for t in panel["targets"]]
    for text, expression in said:
        for label in re.findall(r"{{ ?(?:\$labels\.)?(\w+) ?}}", text):
            assert re.search(rf"by \([^)]*\b{label}\b", expression), (text, expression)
