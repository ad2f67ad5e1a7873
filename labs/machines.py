"""The machines of a lab: containers that boot systemd, reached as real machines are, over ssh."""

import hashlib
import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from labs.host import Host
from labs.image import HELLO_IMAGE, hello_archive
from labs.paths import CACHE, COMMON_INVENTORY, CREATED, INVENTORY, JOINED, MESH, SHARED_PLAYBOOKS, SSH_KEY
from labs.run import LabError, run, run_logged

CLASSES = ("cloud", "onprem", "iot")
NETWORK = "beemesh-lab"
_PREFIX = "beemesh-"
SUBNETS = ("10.77.40.0/24", "10.77.50.0/24", "172.29.77.0/24", "192.168.177.0/24")
_FIRST_ADDRESS = 11
_CUT_TABLE = "lab_cut"
_SMALL = "512m"
_SMALL_FREE = 160 * 1024 * 1024
"""Bytes that a machine with little memory offers to pods."""


@dataclass(frozen=True)
class Machine:
    """One machine of the lab."""

    name: str
    address: str
    machine_class: str
    memory: str | None = None
    """A bound on its memory as Podman writes it ("512m"); None for that of this computer."""

    @property
    def container(self) -> str:
        """The name of its container."""
        return _PREFIX + self.name


def plan(count: int, small: int, subnet: str) -> list[Machine]:
    """Name `count` machines, one cloud, one on-premises, one IoT and so on, and `small` more with little memory."""
    hosts = ipaddress.ip_network(subnet)
    machines = [
        Machine(f"{CLASSES[i % 3]}-{i // 3 + 1}", str(hosts[_FIRST_ADDRESS + i]), CLASSES[i % 3]) for i in range(count)
    ]
    for i in range(small):
        machines.append(Machine(f"small-{i + 1}", str(hosts[_FIRST_ADDRESS + count + i]), "iot", memory=_SMALL))
    return machines


def free_subnet(wanted: str | None, network: str = NETWORK, candidates: Sequence[str] = SUBNETS) -> str:
    """Return `wanted`, the subnet of a network that is there, or the first candidate to which there is no route yet.

    Raises:
        LabError: all candidates are taken; BEEMESH_LAB_SUBNET names another.
    """
    if wanted:
        return str(ipaddress.ip_network(wanted))
    networks = json.loads(run(["podman", "network", "ls", "--format=json"]))
    # Podman's networks have no route while nobody uses them.
    subnets = {each["name"]: [part["subnet"] for part in each.get("subnets") or ()] for each in networks}
    if subnets.get(network):
        return str(subnets[network][0])
    routes = [route["dst"] for route in json.loads(run(["ip", "-json", "route", "show", "table", "all"]))]
    routes += [subnet for each in subnets.values() for subnet in each]
    taken = [
        ipaddress.ip_network(route, strict=False)
        for route in routes
        if "." in route and route != "default" and "/" in route
    ]
    for subnet in candidates:
        if not any(ipaddress.ip_network(subnet).overlaps(other) for other in taken):
            return subnet
    raise LabError(f"this computer has routes to {', '.join(candidates)}: set BEEMESH_LAB_SUBNET to a free /24")


def common_variables(host: Host, image: str) -> dict[str, Any]:
    """What the playbooks need to know of this computer to make and to reach machines on it."""
    known = f"{SSH_KEY.parent}/known_hosts-{{{{ lab_network }}}}"
    ssh = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o LogLevel=ERROR"
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(SSH_KEY),
        "ansible_ssh_common_args": ssh,
        "ansible_python_interpreter": "/usr/bin/python3",
        "lab_image": image,
        "lab_init_options": host.init_options,
        "lab_ssh_directory": str(SSH_KEY.parent),
        "lab_hello_image": HELLO_IMAGE,
        "lab_hello_archive": str(hello_archive()),
        "node_releases": str(CACHE / "releases"),
    }


def write_common_inventory(host: Host, image: str) -> None:
    """Write that down for the lab."""
    _write_yaml(COMMON_INVENTORY, {"mesh": {"vars": common_variables(host, image)}})


def write_inventory(machines: list[Machine], subnet: str) -> None:
    """Write the inventory that the playbooks and `read_machines` use."""
    groups: dict[str, Any] = {
        name: {"hosts": {}, "vars": {"beemesh_labels": {"class": name}, "beemesh_guardian": name != "iot"}}
        for name in CLASSES
    }
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for machine in machines:
        host: dict[str, Any] = {"ansible_host": machine.address, "lab_container": machine.container}
        if machine.memory:
            # A container sees the memory of the whole computer: all but a little is reserved.
            host |= {"lab_memory": machine.memory, "node_reserve": {"memory": str(total - _SMALL_FREE)}}
        groups[machine.machine_class]["hosts"][machine.name] = host
    mesh = {
        "lab_network": NETWORK,
        "lab_subnet": subnet,
        "beemesh_mesh_dir": str(MESH),
        "beemesh_name": "lab",
    }
    _write_yaml(INVENTORY, {"mesh": {"children": groups, "vars": mesh}})


def _write_yaml(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# Written by ./lab.\n" + yaml.safe_dump(content, sort_keys=False))


def read_machines() -> list[Machine]:
    """Return the machines of the lab as it was last brought up.

    Raises:
        LabError: there is no lab.
    """
    if not INVENTORY.exists():
        raise LabError("there is no lab: run ./lab up first")
    groups = yaml.safe_load(INVENTORY.read_text())["mesh"]["children"]
    return [
        Machine(name, host["ansible_host"], machine_class, host.get("lab_memory"))
        for machine_class, group in groups.items()
        for name, host in group["hosts"].items()
    ]


def find(name: str) -> Machine:
    """Return the machine called `name`.

    Raises:
        LabError: there is none; the text lists those that are there.
    """
    machines = {machine.name: machine for machine in read_machines()}
    if name not in machines:
        raise LabError(f"there is no machine {name}; there are {', '.join(machines)}")
    return machines[name]


def make_key() -> None:
    """Make the ssh key with which Ansible reaches the machines, once."""
    if not SSH_KEY.exists():
        SSH_KEY.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "beemesh-lab", "-f", SSH_KEY])


def playbook(path: Path, name: str, *arguments: str | Path) -> str:
    """Run a playbook against the lab's machines; return its output, which also stands in `.lab/logs/NAME.log`.

    Raises:
        LabError: a task failed; the end of the output is in the text.
    """
    inventories: list[str | Path] = ["--inventory", COMMON_INVENTORY, "--inventory", INVENTORY]
    return run_logged(["ansible-playbook", *inventories, *arguments, path], name)


def create() -> None:
    """Make and start the machines of the inventory, and give them the images that no registry has."""
    wanted = hashlib.sha256(INVENTORY.read_bytes() + COMMON_INVENTORY.read_bytes()).hexdigest()
    if CREATED.exists() and CREATED.read_text() == wanted and set(states().values()) == {"running"}:
        return
    CREATED.unlink(missing_ok=True)
    playbook(SHARED_PLAYBOOKS / "create.yml", "create")
    playbook(SHARED_PLAYBOOKS / "prepare.yml", "prepare")
    CREATED.write_text(wanted)


def destroy() -> None:
    """Remove the machines of the inventory and their network."""
    playbook(SHARED_PLAYBOOKS / "destroy.yml", "destroy")
    CREATED.unlink(missing_ok=True)
    JOINED.unlink(missing_ok=True)
    INVENTORY.unlink(missing_ok=True)


def states() -> dict[str, str]:
    """Return the state of each machine's container, "absent" where there is none."""
    listed = json.loads(run(["podman", "ps", "--all", "--filter=label=beemesh=lab", "--format=json"]))
    known = {entry["Names"][0]: entry["State"] for entry in listed}
    return {machine.name: known.get(machine.container, "absent") for machine in read_machines()}


def kill(machine: Machine) -> None:
    """End a machine as a power cut would: everything in it dies at once, nobody is told."""
    run(["podman", "kill", "--signal=KILL", machine.container])


def start(machine: Machine) -> None:
    """Power a killed machine on again; return when its systemd has started."""
    run(["podman", "start", machine.container])
    run(["podman", "exec", machine.container, "sh", "-c", "systemctl is-system-running --wait || true"], timeout=60)


def cut(one: Machine, other: Machine) -> None:
    """Let no packet pass between two machines any more, in either direction, until `mend`."""
    for machine, peer in ((one, other), (other, one)):
        rules = [f"add table ip {_CUT_TABLE}"]
        for hook, field in (("input", "saddr"), ("output", "daddr"), ("forward", "saddr"), ("forward", "daddr")):
            chain = f"ip {_CUT_TABLE} {hook}"
            rules.append(f"add chain {chain} {{ type filter hook {hook} priority -300; }}")
            rules.append(f"add rule {chain} ip {field} {peer.address} drop")
        run(["podman", "exec", "--interactive", machine.container, "nft", "-f", "-"], input="\n".join(rules) + "\n")


def cuts(machine: Machine) -> list[str]:
    """Return the addresses from which `machine` is cut off."""
    listed = run(["podman", "exec", machine.container, "nft", "--json", "list", "ruleset"])
    found: set[str] = set()
    for item in json.loads(listed)["nftables"]:
        rule = item.get("rule")
        if rule and rule["table"] == _CUT_TABLE:
            found.update(part["match"]["right"] for part in rule["expr"] if "match" in part)
    return sorted(found)


def mend() -> list[str]:
    """Let all packets pass again; return the names of the machines that had been cut off from another."""
    state = states()
    mended = [machine for machine in read_machines() if state[machine.name] == "running" and cuts(machine)]
    for machine in mended:
        run(["podman", "exec", machine.container, "nft", "delete", "table", "ip", _CUT_TABLE])
    return [machine.name for machine in mended]
