"""What is there before the rotation is written down, to be compared."""

import json

from labs import scenario

MACHINES = ("ro-1", "ro-2", "ro-3")
KEPT = ("machine.key", "machine.cert", "trust.bundle")


def test_what_is_there_is_noted() -> None:
    scenario.wait_for_machines(*MACHINES)
    running = scenario.wait_for_containers("web", 2, *MACHINES, seconds=30)
    noted = {
        "running": sorted([each.machine, each.pod, each.started.isoformat()] for each in running),
        "files": {
            machine: [scenario.on(machine, "sha256sum", f"/var/lib/beemesh/{name}").split()[0] for name in KEPT]
            for machine in MACHINES
        },
        "ids": {item["metadata"]["name"]: item["metadata"]["uid"] for item in scenario.items("machines")},
        "serials": [scenario.serial(machine) for machine in MACHINES],
        "roots": json.loads(scenario.beectl("mesh", "info", "-o", "json"))["roots"],
    }
    (scenario.directory() / "before.json").write_text(json.dumps(noted))
