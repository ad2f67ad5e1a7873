from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labs import scenario

MACHINES = ("ro-1", "ro-2", "ro-3")
KEPT = ("machine.key", "machine.cert", "trust.bundle")


@pytest.fixture
def notes() -> Path:
    """Where it is noted what there was before."""
    return scenario.directory() / "before.json"


@pytest.fixture
def found() -> dict[str, Any]:
    """What a rotation is about, and what it leaves alone."""
    scenario.wait_for_machines(*MACHINES)
    running = scenario.wait_for_containers("web", 2, *MACHINES, seconds=30)
    return {
        "running": sorted([each.machine, each.pod, each.started.isoformat()] for each in running),
        "files": {
            machine: [scenario.on(machine, "sha256sum", f"/var/lib/beemesh/{name}").split()[0] for name in KEPT]
            for machine in MACHINES
        },
        "ids": {item["metadata"]["name"]: item["metadata"]["uid"] for item in scenario.items("machines")},
        "serials": [scenario.serial(machine) for machine in MACHINES],
        "roots": json.loads(scenario.beectl("mesh", "info", "-o", "json"))["roots"],
    }
