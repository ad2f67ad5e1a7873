#!/usr/bin/env python3
"""What a Molecule scenario needs of this computer, and what its tests look at.

Run as a program this is an inventory script: it makes the image of lab machines and the checkout's `beectl` (so that
`molecule test` works in a fresh clone, without `./lab`) and prints the variables that all machines share. It installs
nothing: programs that are missing are named. The machines themselves stand in the scenario's own inventory, each with a
`lab_index`: the last number of its address.
"""

import contextlib
import ipaddress
import json
import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from labs import host as hosts
from labs import image, machines
from labs.mesh import ready, until
from labs.paths import BIN, COLLECTIONS, ROOT
from labs.run import LabError, run

_SUBNETS = ("10.77.41.0/24", "10.77.51.0/24", "172.29.78.0/24", "192.168.187.0/24")
PREFIX = "beemesh-"
"""Of containers: a scenario's machines have names that no other scenario uses."""

_LAUNCHER = """#!{python}
import sys
sys.path.insert(0, {root!r})
from beemesh_node.cli.main import main
main()
"""


def directory() -> Path:
    """Where the scenario keeps what it makes."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


def beectl(*arguments: str, timeout: float = 120) -> str:
    """Run the operator's command against the scenario's mesh; return what it printed.

    Raises:
        LabError: it failed; its own message is in the text.
    """
    return run(["beectl", "--dir", directory() / "mesh", *arguments], timeout=timeout)


def items(*arguments: str) -> list[dict[str, Any]]:
    """Return the items of a `beectl get`."""
    found: list[dict[str, Any]] = json.loads(beectl("get", *arguments, "-o", "json"))["items"]
    return found


def on(machine: str, *command: str) -> str:
    """Run a command on a machine; return what it printed. Raises `LabError`."""
    return run(["podman", "exec", PREFIX + machine, *command], timeout=60)


def serial(machine: str) -> int:
    """The serial of the certificate that a machine has. Raises `LabError`."""
    copy = directory() / f"{machine}.cert"
    run(["podman", "cp", f"{PREFIX}{machine}:/var/lib/beemesh/machine.cert", copy])
    found: int = json.loads(beectl("cert", "inspect", str(copy), "-o", "json"))["serial"]
    return found


@dataclass(frozen=True)
class Container:
    """A container that runs, as the Podman of its machine tells."""

    machine: str
    pod: str
    started: datetime


def containers(app: str, *names: str) -> list[Container]:
    """Return the running containers with the label `app` on some machines, asked of each machine's own Podman."""
    found = []
    for machine in names:
        listed = on(machine, "podman", "ps", "--quiet", "--no-trunc", f"--filter=label=app={app}").split()
        for entry in json.loads(on(machine, "podman", "inspect", *listed)) if listed else ():
            pod = entry["Config"]["Labels"]["io.beemesh.pod-name"]
            found.append(Container(machine, pod, datetime.fromisoformat(entry["State"]["StartedAt"])))
    return found


def wait_for_containers(app: str, number: int, *names: str, seconds: float) -> list[Container]:
    """Wait until exactly so many containers with the label `app` run on these machines; return them.

    Raises:
        LabError: not within `seconds`.
    """

    def look() -> tuple[list[Container], str | None]:
        found = containers(app, *names)
        where = ", ".join(f"{each.pod} on {each.machine}" for each in found)
        return found, None if len(found) == number else f"{len(found)} of {number} run: {where or 'none'}"

    return until(seconds, f"containers of {app}", look)


def hello_answers(*names: str) -> None:
    """Check that both pods of `examples/hello.yml` run on some of these machines and answer over HTTP.

    Raises:
        LabError: they do not run within half a minute, or one does not answer with its own name.
    """
    addresses = {item["metadata"]["name"]: item["status"]["podIP"] for item in items("pods", "-l", "app=hello")}
    for each in wait_for_containers("hello", 2, *names, seconds=30):
        said = on(each.machine, "curl", "-fsS", "-m", "3", f"http://{addresses[each.pod]}:8080/")
        if said != f"Hello from {each.pod}\n":
            raise LabError(f"{each.pod} on {each.machine} answers {said[:200]!r}")


def wait_for_machines(*names: str, seconds: float = 60) -> None:
    """Wait until the mesh shows exactly these machines as ready. Raises `LabError`."""

    def look() -> tuple[None, str | None]:
        seen = {item["metadata"]["name"] for item in items("machines") if ready(item)}
        return None, None if seen == set(names) else f"ready are {', '.join(sorted(seen)) or 'none'}"

    until(seconds, "machines of the mesh", look)


def write_beectl(place: Path) -> Path:
    """Write the `beectl` of this checkout, for the Python that runs this; return its path.

    What requirements.lock names is all that `molecule test` needs: the project itself need not be installed. The
    scenarios have `place` in their PATH.
    """
    place.mkdir(parents=True, exist_ok=True)
    path = place / "beectl"
    text = _LAUNCHER.format(python=sys.executable, root=str(ROOT))
    if not path.exists() or path.read_text() != text:
        unfinished = place / f"beectl.{os.getpid()}"
        unfinished.write_text(text)
        unfinished.chmod(0o755)
        unfinished.replace(path)
    return path


def link_collection(place: Path) -> Path:
    """Have this checkout be a collection of `place`, for playbooks that use its modules; return its path there."""
    path = place / "ansible_collections" / "beemesh" / "mesh"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (path.is_symlink() and path.readlink() == ROOT):
        path.unlink(missing_ok=True)
        path.symlink_to(ROOT)
    return path


def _variables() -> dict[str, Any]:
    name = os.environ.get("MOLECULE_SCENARIO_NAME", "scenario")
    host = hosts.detect()
    if missing := hosts.missing_programs(host):
        raise LabError(f"{hosts.lacking(missing)}: install them; on Debian ./lab molecule does")
    hosts.prepare_podman(host)
    machines.make_key()
    write_beectl(BIN)
    link_collection(COLLECTIONS)
    network = f"{PREFIX}{name}"
    subnet = machines.free_subnet(os.environ.get("BEEMESH_MOLECULE_SUBNET"), network, _SUBNETS)
    first = str(ipaddress.ip_network(subnet)[0]).rpartition(".")[0]
    return machines.common_variables(host, image.machine_image(host)) | {
        "ansible_host": f"{first}.{{{{ lab_index }}}}",
        "lab_container": f"{PREFIX}{{{{ inventory_hostname }}}}",
        "lab_network": network,
        "lab_subnet": subnet,
        "beemesh_mesh_dir": "{{ lookup('ansible.builtin.env', 'MOLECULE_EPHEMERAL_DIRECTORY') }}/mesh",
        "beemesh_name": name,
    }


def main() -> None:
    """Print the inventory; whatever is said on the way goes to standard error."""
    if os.geteuid() != 0:
        sys.exit("machines with an init system and pods of their own need root: use sudo, or ./lab molecule")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = _variables()
    except LabError as error:
        sys.exit(str(error))
    print(json.dumps({"mesh": {"hosts": [], "vars": found}, "_meta": {"hostvars": {}}}))


if __name__ == "__main__":
    main()
