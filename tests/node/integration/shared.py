"""The mesh that most tests share: starting one takes longer than what is done with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beemesh_node.protocol.messages import PAYLOADS
from tests.node.integration.machine import Machine
from tests.node.integration.manifests import deployment
from tests.node.integration.mesh import Mesh
from tests.node.integration.segment import Segment
from tests.node.integration.tampering import DIRECTORY

SECRET_IMAGE = "localhost/zephyrquartz-imagename:latest"
"""An image whose name is looked for where it must not be."""


class SharedMesh(Mesh):
    """Machines alpha and beta are honest and run pods. Relay runs none, guards none, and does what `order` says."""

    alpha: Machine
    beta: Machine
    relay: Machine

    def order(self, trick: str, payload: type) -> None:
        """Tell the relay what to do with questions of this type."""
        number = next(number for number, (cls, _) in PAYLOADS.items() if cls is payload)
        (self.relay.directory / "order").write_text(json.dumps({"trick": trick, "type": number}))

    def be_honest(self) -> None:
        (self.relay.directory / "order").unlink(missing_ok=True)

    def tape(self) -> bytes:
        """All frames that the relay has been given to pass on, with their lengths."""
        return (self.relay.directory / "tape").read_bytes()


@contextmanager
def shared_mesh(directory: Path, segment: Segment) -> Iterator[SharedMesh]:
    with SharedMesh(directory, segment) as mesh:
        mesh.alpha, mesh.beta = mesh.add("alpha"), mesh.add("beta")
        program = (sys.executable, "-m", "tests.node.integration.tampering")
        mesh.relay = mesh.add("relay", "--no-guardian", program=program, podman=False)
        mesh.relay.environment[DIRECTORY] = str(mesh.relay.directory)
        for machine in mesh.machines:
            if machine.podman is not None:
                machine.start_podman(SECRET_IMAGE)
            machine.start()
        mesh.settle(mesh.alpha, mesh.beta)
        mesh.relay.until(lambda status: len(status["members"]) >= 2, "knows the others")
        yield mesh


@contextmanager
def shared_pod(mesh: SharedMesh, name: str, namespace: str = "default") -> Iterator[Machine]:
    """Run one pod of a Deployment for the length of the block; give the machine that has it."""
    admin = mesh.admin.enter_by(mesh.alpha)
    admin.apply(deployment(name, namespace=namespace))
    (pod,) = mesh.pods(admin, "-n", namespace)
    yield next(machine for machine in mesh.machines if machine.name == pod["spec"]["nodeName"])
    admin.enter_by(mesh.alpha).delete("-n", namespace, f"deployment/{name}")
