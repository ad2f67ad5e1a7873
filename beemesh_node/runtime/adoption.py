"""Knowing one's pods again: what Podman has under this mesh's labels, with the specifications kept beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from beemesh_node.runtime.config import RuntimeConfig
from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError
from beemesh_node.runtime.inspection import RUNNING_STATES, ended_status, listed_status, read_inspection
from beemesh_node.runtime.labels import MESH, Role, read_labels
from beemesh_node.runtime.pod_files import PodFiles
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.processes import is_gone
from beemesh_node.runtime.unmonitored import is_corpse
from beemesh_node.workloads.pod import ContainerStatus, PodIdentity, PodPhase, PodSpec, PodStatus


@dataclass
class FoundPod:
    """A pod as it was found. `statuses` has the newest life of each container."""

    identity: PodIdentity
    statuses: dict[str, ContainerStatus] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    sandbox: str = ""
    sandbox_died: bool = False
    spec: PodSpec | None = None
    ended: bool = False
    unguarded: bool = False
    """Whether it is leased and its guard is gone, so that the kernel has ended it."""

    @property
    def adoptable(self) -> bool:
        """Whether the pod can be kept: its specification is there, it is not ending, and it was fully started."""
        if self.spec is None or self.ended or self.unguarded:
            return False
        template = self.spec.template
        first = template.init_containers[:1] or template.containers
        return all(container.name in self.statuses for container in first)

    @property
    def running(self) -> bool:
        """Whether any of its containers runs."""
        return any(status.state == "running" for status in self.statuses.values())

    def status(self) -> PodStatus:
        """The status of a pod that nobody keeps."""
        main = tuple(one for name, one in self.statuses.items() if self.roles[name] is not Role.INIT)
        init = tuple(one for name, one in self.statuses.items() if self.roles[name] is Role.INIT)
        if self.ended:
            reason, message = "Ended", "the pod was told to end and is not yet removed"
        elif self.unguarded:
            reason, message = "LeaseEnded", "its lease ended while nobody looked: remove the pod"
        elif self.spec is None:
            reason, message = "SpecLost", "its specification did not outlive the daemon or the machine: remove the pod"
        else:
            reason, message = "Partial", "its start was not completed: remove the pod"
        return PodStatus(self.identity, PodPhase.UNKNOWN, False, main, init, reason, message)


async def find_pods(api: PodmanApi, config: RuntimeConfig) -> dict[str, FoundPod]:
    """Every pod of this mesh that Podman knows anything of, by its uid.

    Raises RuntimeUnavailableError.
    """
    label = {"label": [f"{MESH}={config.mesh}"]}
    found: dict[str, FoundPod] = {}
    try:
        for entry in await api.get("/pods/json", {"filters": label}) or ():
            if read := read_labels(entry.get("Labels") or {}):
                found[read.identity.pod_uid] = FoundPod(read.identity, sandbox=str(entry["Id"]))
        for entry in await api.get("/containers/json", {"all": True, "filters": label}) or ():
            _add(found, entry, is_dead=await _is_corpse(api, entry, config.network))
    except PodmanRefusedError as error:
        raise RuntimeUnavailableError.at(api.socket, f"containers cannot be listed ({error})") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RuntimeUnavailableError.at(api.socket, f"what lists containers is not Podman ({error!r})") from error
    await trio.to_thread.run_sync(_read_files, found, config)
    return found


async def _is_corpse(api: PodmanApi, entry: Mapping[str, Any], network: str) -> bool:
    if entry.get("State") not in RUNNING_STATES or not is_gone(int(entry.get("Pid") or 0)):
        return False
    return is_corpse(read_inspection(await api.get(f"/containers/{entry['Id']}/json"), network), api.socket)


def _add(found: dict[str, FoundPod], entry: Mapping[str, Any], *, is_dead: bool) -> None:
    read = read_labels(entry.get("Labels") or {})
    if read is None:
        return
    pod = found.setdefault(read.identity.pod_uid, FoundPod(read.identity))
    if entry.get("IsInfra"):
        pod.sandbox_died = is_dead or entry.get("State") not in RUNNING_STATES
    if entry.get("IsInfra") or read.role not in (Role.INIT, Role.MAIN):
        return
    known = pod.statuses.get(read.container)
    if known is None or known.restart_count < read.restart:
        status = listed_status(entry, read.container, read.restart)
        pod.statuses[read.container] = ended_status(status) if is_dead else status
        pod.roles[read.container] = read.role


def _read_files(found: Mapping[str, FoundPod], config: RuntimeConfig) -> None:
    for uid, pod in found.items():
        files = PodFiles(config, uid)
        spec = files.read_spec()
        pod.spec = spec if spec is not None and spec.identity == pod.identity else None
        pod.ended = files.ended()
