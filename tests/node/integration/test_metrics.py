"""Metrics of daemons at work: they add up over the mesh, name nobody, and are read on the machine itself alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from tests.node.integration.grove import METRICS, Grove, roaming
from tests.node.integration.machine import Machine
from tests.node.integration.manifests import IDLE
from tests.node.integration.segment import inside
from tests.node.integration.waiting import until

_READ = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=5)
connection.request("GET", "/metrics")
answer = connection.getresponse()
assert answer.status == 200, answer.status
sys.stdout.write(answer.read().decode())
"""
_PLACED = "beemesh_placement_duration_seconds_count"
_RESTARTED = "beemesh_container_restarts_total"


def test_metrics_add_up_over_the_mesh(grove: Grove) -> None:
    before = until(lambda: settled(grove), "everybody knows and hears everybody")
    assert before["beemesh_runtime_ready"] == 3
    assert before["beemesh_watched_members"] == 3 * 2
    grove.admin.apply(roaming("counted", 2, script=f"trap 'exit 3' USR1; {IDLE}"))
    grown = until(lambda: since(before, grove, **{_PLACED: 2}), "two placements are counted")
    assert grown["beemesh_claims running"] == 2
    assert grown["beemesh_claims_ready"] == 2
    assert grown["beemesh_workloads_coordinated complete"] == 1
    assert grown["beemesh_workloads_stood_by"] == 2
    assert grown["beemesh_records declared"] == 3
    assert grown["beemesh_slots_accepted_total"] >= 2
    assert grown["beemesh_bids_total"] >= 1
    assert grown["beemesh_pq_operations_total sign"] > 0
    assert grown["beemesh_beats_sent_total datagram"] > 0
    for machine in grove.machines:
        name_nobody(machine, "counted")
    grove.admin.run("exec", "deployment/counted", "--", "kill", "-USR1", "1", code=None)
    until(lambda: since(before, grove, **{_RESTARTED: 1}), "a container that ended is counted")
    grove.admin.delete("deployment/counted")
    grown = until(lambda: since(before, grove, **{"beemesh_records deleted": 3}), "tombstones are counted")
    assert grown["beemesh_workloads_coordinated complete"] == 0


def test_metrics_are_for_the_machine_itself(grove: Grove) -> None:
    refused = read(grove.elm, f"{grove.oak.address}:{METRICS.rpartition(':')[2]}")
    assert refused.returncode != 0
    assert "ConnectionRefusedError" in refused.stderr


def name_nobody(machine: Machine, workload: str) -> None:
    words = set(re.findall(r"[\w.:-]+", "".join(re.findall(r"{.*}", read(machine).stdout))))
    assert {"state", "phase", "running"} <= words
    assert not words & {workload, "default", machine.name, machine.id, machine.peer, machine.address}


def everywhere(grove: Grove) -> Counter[str]:
    """Every sample, by its name and label, summed over the machines."""
    found: Counter[str] = Counter()
    for machine in grove.machines:
        ran = read(machine)
        assert ran.returncode == 0, ran.stderr
        for family in text_string_to_metric_families(ran.stdout):
            for sample in family.samples:
                found[" ".join((sample.name, *sample.labels.values()))] += sample.value  # type: ignore[assignment]
    return found


def settled(grove: Grove) -> Counter[str] | None:
    found = everywhere(grove)
    here = (found["beemesh_members ready"], found["beemesh_heard_members"]) == (3 * 3, 3 * 2)
    # What earlier tests deleted is still ending.
    ended = not any(value for name, value in found.items() if name.startswith("beemesh_claims "))
    return found if here and ended else None


def since(before: Counter[str], grove: Grove, **least: int) -> Counter[str] | None:
    """By how much everything has grown, once the named have grown by at least so much."""
    grown = everywhere(grove)
    grown.subtract(before)
    return grown if all(grown[name] >= count for name, count in least.items()) else None


def read(machine: Machine, address: str = METRICS) -> subprocess.CompletedProcess[str]:
    command = inside(machine.namespace, sys.executable, "-c", _READ, address)
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
