"""Creating and removing what a pod consists of in Podman.

The path of an ordinary start is two requests, create and start. Nothing is looked up first: what is missing or in
the way shows in Podman's refusal, and only then is it fetched or removed. Whatever fails or is cancelled half way is
removed before the error leaves; what could not be removed because Podman is gone is remembered in `leftovers`.
"""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from beemesh_node.runtime.config import RuntimeConfig
from beemesh_node.runtime.container_spec import Mount, Surroundings, container_spec, sandbox_spec
from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError, StartError
from beemesh_node.runtime.images import Images
from beemesh_node.runtime.inspection import read_inspection
from beemesh_node.runtime.labels import MESH, POD_UID, Role, container_name, pod_name
from beemesh_node.runtime.pod_files import PodFiles, memory_volume, volume_name
from beemesh_node.runtime.podman_api import Parameters, PodmanApi
from beemesh_node.runtime.refusals import create_error, image_missing, name_taken, start_error, unsettled
from beemesh_node.runtime.security import needs_image_user, refusal
from beemesh_node.runtime.sub_paths import check_mounted
from beemesh_node.workloads.pod import Container, EmptyDir, PodSpec, PullPolicy, Volume

PORT_RELEASE_SECONDS = 3.0
"""How long the last life of a container may hold its host ports after its death."""
_PORT_RETRY = 0.05
_AT_ONCE = {"force": True, "timeout": 0, "v": True}
_POD_AT_ONCE = {"force": True, "timeout": 0}
_LAYERS = 2
"""A pod's containers, and below them the one that holds its namespaces."""


class Launcher:
    """Makes and removes pods, sandboxes and containers."""

    def __init__(self, api: PodmanApi, config: RuntimeConfig, images: Images, machine_memory: int) -> None:
        self._api = api
        self._config = config
        self._images = images
        self._surroundings = Surroundings(config, machine_memory)
        self._slots = trio.CapacityLimiter(config.concurrent_starts)
        self.leftovers: set[str] = set()

    async def sandbox(self, pod: PodSpec, *, again: bool = False) -> Surroundings:
        """Create and start a pod's infra container; what containers need to know to join it.

        `again`: one that had its host ports was removed just now.

        Raises StartError, RuntimeUnavailableError. The caller removes what is there if anything fails.
        """
        subject = f"pod {pod.identity.pod_name}"
        try:
            async with self._slots:
                created = await self._api.post("/pods/create", sandbox_spec(pod, self._config))
        except PodmanRefusedError as error:
            raise start_error(subject, error, self._api.socket) from error
        await self._start(subject, f"/pods/{created['Id']}", again)
        return await self.join(pod, str(created["Id"]))

    async def join(self, pod: PodSpec, sandbox: str) -> Surroundings:
        """What containers need to know to join a running sandbox.

        Raises StartError, RuntimeUnavailableError.
        """
        try:
            found = await self._api.get(f"/pods/{sandbox}/json")
            infra = await self._api.get(f"/containers/{found['InfraContainerID']}/json")
            read = read_inspection(infra, self._config.network)
        except PodmanRefusedError as error:
            raise start_error(f"pod {pod.identity.pod_name}", error, self._api.socket) from error
        except (ValueError, KeyError, TypeError) as error:
            raise RuntimeUnavailableError.at(self._api.socket, f"not an inspected pod ({error})") from error
        return replace(self._surroundings, sandbox=sandbox, sandbox_container=read.container_id, pod_ip=read.ip)

    async def discard_sandbox(self, pod: PodSpec) -> None:
        """Remove a pod's sandbox, whole or half made, and the containers in it, if it is there.

        Raises StartError, RuntimeUnavailableError.
        """
        try:
            await self._delete(f"/pods/{pod_name(self._config.name_prefix, pod.identity)}", _POD_AT_ONCE)
        except PodmanRefusedError as error:
            raise create_error(f"pod {pod.identity.pod_name}", error) from error

    def alone(self) -> Surroundings:
        """What a container without a sandbox needs to know."""
        return self._surroundings

    async def memory_volumes(self, pod: PodSpec) -> None:
        """Create the pod's tmpfs volumes, and a container that is never run and keeps them mounted.

        Podman unmounts a volume with its last container, and an emptyDir must outlive a restart of that one.

        Raises StartError, RuntimeUnavailableError. The caller removes the pod if anything fails.
        """
        volumes = [volume for volume in pod.template.volumes if memory_volume(volume)]
        if not volumes:
            return
        try:
            for volume in volumes:
                await self._api.post("/volumes/create", self._volume_spec(pod, volume))
            mounts = [
                Mount(volume_name(self._config, pod.identity, volume), f"/volumes/{volume.name}", named_volume=True)
                for volume in volumes
            ]
            program = PodFiles(self._config, pod.identity.pod_uid).holder
            mounts.append(Mount(str(program), f"/{program.name}", read_only=True, relabel=True))
            image = pod.template.containers[0].image
            container = Container(Role.HOLDER.value, image, command=(f"/{program.name}",))
            spec = container_spec(pod, container, Role.HOLDER, 0, mounts, self._surroundings)
            for name in ("networks", "portmappings", "sysctl"):
                spec.pop(name, None)
            created = await self._api.post("/containers/create", spec | {"netns": {"nsmode": "none"}})
            await self._api.post(f"/containers/{created['Id']}/init")
        except PodmanRefusedError as error:
            raise create_error(f"pod {pod.identity.pod_name}: memory volumes", error) from error

    async def launch(self, pod: PodSpec, container: Container, role: Role, restart: int, around: Surroundings) -> str:
        """Create and start one life of a container; Podman's id of it.

        Raises StartError, RuntimeUnavailableError; nothing of the container is left then, nor after a cancellation.
        """
        if container.pull_policy is PullPolicy.ALWAYS:
            await self._images.fetch(container)
        mounts: list[Mount] = []
        if container.mounts:
            files = PodFiles(self._config, pod.identity.pod_uid)
            mounts = await trio.to_thread.run_sync(files.mounts, pod, container)
        around = replace(around, image_user=await self._image_user(container))
        try:
            spec = container_spec(pod, container, role, restart, mounts, around)
        except ValueError as error:
            raise StartError("CreateContainerConfigError", f"container {container.name}: {error}") from error
        name = container_name(self._config.name_prefix, pod.identity, container.name, restart)
        started = False
        try:
            container_id = await self._create(container, spec)
            if any(mount.sub_path for mount in mounts):
                await self._check_mounts(container, container_id, mounts)
            await self._start(f"container {container.name}", f"/containers/{container_id}", restart > 0)
            started = True
        finally:
            if not started:
                await self._abandon(pod.identity.pod_uid, partial(self.discard, name))
        return container_id

    async def discard(self, container: str) -> None:
        """Remove a container, running or not, and its anonymous volumes.

        Raises PodmanRefusedError, RuntimeUnavailableError.
        """
        await self._delete(f"/containers/{container}", _AT_ONCE)

    async def remove_pod(self, pod_uid: str) -> None:
        """Remove all that Podman has of a pod, and its directories.

        Raises RuntimeUnavailableError if Podman cannot, naming what is in the way.
        """
        label = {"label": [f"{MESH}={self._config.mesh}", f"{POD_UID}={pod_uid}"]}
        try:
            for entry in await self._api.get("/containers/json", {"all": True, "filters": label}) or ():
                if not entry.get("IsInfra"):
                    await self.discard(entry["Id"])
            for entry in await self._api.get("/pods/json", {"filters": label}) or ():
                await self._delete(f"/pods/{entry['Id']}", _POD_AT_ONCE)
            # Of several labels Podman asks of a volume only one (libpod's `Volumes`), unlike of containers and pods.
            own = {"label": [f"{POD_UID}={pod_uid}"]}
            for entry in await self._api.get("/volumes/json", {"filters": own}) or ():
                if (entry.get("Labels") or {}).get(MESH) == self._config.mesh:
                    await self._api.delete(f"/volumes/{entry['Name']}", {"force": True})
            await trio.to_thread.run_sync(PodFiles(self._config, pod_uid).remove)
        except (PodmanRefusedError, OSError) as error:
            raise RuntimeUnavailableError.at(self._api.socket, f"pod {pod_uid} cannot be removed ({error})") from error
        self.leftovers.discard(pod_uid)

    async def abandon_pod(self, pod_uid: str) -> None:
        """Remove a pod whose start failed or was cancelled, whatever else is going on."""
        await self._abandon(pod_uid, partial(self.remove_pod, pod_uid))

    async def _delete(self, path: str, how: Parameters) -> None:
        """Remove something, also what died with its monitor: that Podman learns of it takes it a try for each layer."""
        for _ in range(_LAYERS):
            try:
                await self._api.delete(path, how)
                return
            except PodmanRefusedError as error:
                if not unsettled(error):
                    raise
        await self._api.delete(path, how)

    async def _abandon(self, pod_uid: str, remove: Callable[[], Awaitable[None]]) -> None:
        """Remove although cancelled: an owner that is gone cannot do it later. Requests bound the time it takes."""
        with trio.CancelScope(shield=True):
            try:
                await remove()
            except (RuntimeUnavailableError, PodmanRefusedError):
                self.leftovers.add(pod_uid)

    async def _image_user(self, container: Container) -> str:
        if not needs_image_user(container.security):
            user = ""
        else:
            await self._images.ensure(container)
            try:
                user = await self._images.user(container.image)
            except PodmanRefusedError as error:
                raise create_error(f"container {container.name}", error) from error
        if reason := refusal(container, user):
            raise StartError("CreateContainerConfigError", reason)
        return user

    async def _create(self, container: Container, spec: dict[str, Any]) -> str:
        for _ in range(2):
            try:
                async with self._slots:
                    return str((await self._api.post("/containers/create", spec))["Id"])
            except PodmanRefusedError as error:
                if image_missing(error):
                    await self._images.fetch(container)
                elif name_taken(error):
                    # A start of this same life broke off earlier, and could not be cleaned up then.
                    await self._discard_former(container, spec["name"])
                else:
                    raise create_error(f"container {container.name}", error) from error
            except (KeyError, TypeError) as error:
                raise RuntimeUnavailableError.at(self._api.socket, "what creates containers is not Podman") from error
        raise StartError("CreateContainerError", f"container {container.name}: image {container.image} does not stay")

    async def _discard_former(self, container: Container, name: str) -> None:
        try:
            await self.discard(name)
        except PodmanRefusedError as error:
            raise create_error(f"container {container.name}", error) from error

    async def _check_mounts(self, container: Container, container_id: str, mounts: list[Mount]) -> None:
        """Let Podman make the mounts but not run the program, and look at them."""
        try:
            await self._api.post(f"/containers/{container_id}/init")
            found = read_inspection(await self._api.get(f"/containers/{container_id}/json"), self._config.network)
        except PodmanRefusedError as refused:
            raise start_error(f"container {container.name}", refused, self._api.socket) from refused
        except ValueError as error:
            raise RuntimeUnavailableError.at(self._api.socket, str(error)) from error
        await trio.to_thread.run_sync(check_mounted, found.pid, mounts)

    async def _start(self, subject: str, path: str, again: bool) -> None:
        give_up = trio.current_time() + (PORT_RELEASE_SECONDS if again else 0)
        while True:
            try:
                async with self._slots:
                    await self._api.post(f"{path}/start")
                return
            except PodmanRefusedError as refused:
                error = start_error(subject, refused, self._api.socket)
                if error.reason != "PortConflict" or trio.current_time() >= give_up:
                    raise error from refused
            await trio.sleep(_PORT_RETRY)

    def _volume_spec(self, pod: PodSpec, volume: Volume) -> dict[str, Any]:
        source = volume.source
        options = ["mode=0777", "nodev", "nosuid"]
        if isinstance(source, EmptyDir) and source.size_limit_bytes:
            # Podman 4 takes `size` for a disk quota, also here; tmpfs knows the same bound counted in pages.
            options.append(f"nr_blocks={-(-source.size_limit_bytes // resource.getpagesize())}")
        if pod.template.fs_group is not None:
            options.append(f"gid={pod.template.fs_group}")
        return {
            "Name": volume_name(self._config, pod.identity, volume),
            "Driver": "local",
            "Label": {MESH: self._config.mesh, POD_UID: pod.identity.pod_uid},
            "Options": {"type": "tmpfs", "device": "tmpfs", "o": ",".join(options)},
        }
