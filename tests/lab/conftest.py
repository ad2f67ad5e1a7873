"""A lab of four machines for the whole run: one cloud, one on-premises, one IoT, and one with little memory."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from labs import host, machines, mesh
from labs.paths import HELLO_MANIFEST, INVENTORY, ROOT

Declare = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def lab() -> Iterator[None]:
    """The lab; one that was there already stays."""
    there = INVENTORY.exists()
    subprocess.run([ROOT / "lab", "up", "--small", "1"], check=True)
    host.prepare_podman(host.detect())
    yield
    if not there:
        subprocess.run([ROOT / "lab", "down"], check=True)


@pytest.fixture
def all_machines() -> Iterator[list[machines.Machine]]:
    """Every machine; afterwards all of them run and see each other again."""
    known = machines.read_machines()
    yield known
    for machine in known:
        if machines.states()[machine.name] != "running":
            machines.start(machine)
    machines.mend()
    mesh.wait_for_machines([machine.name for machine in known], seconds=120)


@pytest.fixture
def declare(tmp_path: Path) -> Iterator[Declare]:
    """Declare a Deployment like examples/hello.yml under another name; it is deleted afterwards."""
    names: set[str] = set()

    def apply(name: str, *, replicas: int = 2, image: str | None = None, **pod_spec: object) -> str:
        manifest = yaml.safe_load(HELLO_MANIFEST.read_text())
        manifest["metadata"] = {"name": name, "labels": {"app": name}}
        spec = manifest["spec"]
        spec["replicas"] = replicas
        spec["selector"]["matchLabels"] = spec["template"]["metadata"]["labels"] = {"app": name}
        container = spec["template"]["spec"]["containers"][0]
        container["image"] = image or container["image"]
        if resources := pod_spec.pop("resources", None):
            container["resources"] = resources
        spec["template"]["spec"].update(pod_spec)
        path = tmp_path / f"{name}.yml"
        path.write_text(yaml.safe_dump(manifest))
        names.add(name)
        return mesh.beectl("apply", "-f", str(path))

    yield apply
    for name in names:
        mesh.beectl("delete", "deployment", name, "--wait", "--timeout", "60s")
