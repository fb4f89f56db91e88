"""The kit and the provider layer stand alone, so that integrators can import them anywhere."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("package", "modules", "unwanted"),
    [
        ("chatd.chattest", "openai google faults replay demo", "chatd.llm"),
        ("chatd.llm", "client wires.choice providers", "chatd.chattest"),
    ],
)
def test_the_package_imports_neither_django_nor_its_neighbour(package, modules, unwanted):
    imports = "; ".join(f"import {package}.{name}" for name in modules.split())
    loaded = f"import sys; {imports}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    found = set(run.stdout.split())
    assert not {"django", "yaml", unwanted} & found
    assert {name for name in found if name.startswith("chatd.")} <= {
        name for name in found if name.startswith(package)
    }
