"""A pod's directories on the machine: its volumes, and the specification by which it is adopted.

Two places, because two kinds of bytes must not mix. `secret_dir` is memory: Secrets and the specification (which holds
their values). `state_dir` is disk: emptyDir and ConfigMaps. Both are 0700 up to the pod, so a volume's own modes (0777
for an emptyDir, as in Kubernetes) open it to the pod's users and to nobody else on the machine.

Volumes belong to root, as in Kubernetes, whoever the daemon is: programs refuse keys of strangers.

Everything here blocks; callers run it in a thread.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path, PurePosixPath

from beemesh_node.runtime.config import RuntimeConfig
from beemesh_node.runtime.container_spec import Mount
from beemesh_node.runtime.errors import RuntimeUnavailableError, StartError
from beemesh_node.runtime.host_path import check_host_path
from beemesh_node.runtime.privileges import VOLUMES, Capability, held, may
from beemesh_node.runtime.spec_codec import MAX_SPEC_BYTES, decode_spec, encode_spec
from beemesh_node.runtime.sub_paths import inside_volume
from beemesh_node.workloads.pod import Container, EmptyDir, Files, HostPath, LocalVolume, PodIdentity, PodSpec, Volume

_SPEC = "spec.json"
_ENDED = "ended"
_HOLDER = "holder"
_LOCAL = "local"
"""Volumes that outlive pods, as NAMESPACE/CLAIM-STATEFULSET-SLOT: Kubernetes' names for their claims."""


class PodFiles:
    """The directories of one pod."""

    def __init__(self, config: RuntimeConfig, pod_uid: str) -> None:
        self._config = config
        self._uid = pod_uid
        self._disk = config.state_dir / "pods" / pod_uid
        self._memory = config.secret_dir / "pods" / pod_uid

    @held(*VOLUMES)
    def create(self, spec: PodSpec) -> None:
        """Make every volume and keep the specification, in the place of what an earlier start left.

        Raises StartError (FailedMount) for a volume that cannot be had.
        """
        try:
            self.remove()
            self._memory.mkdir(mode=0o700, parents=True)
            self._disk.mkdir(mode=0o700, parents=True)
            for volume in spec.template.volumes:
                self._create_volume(volume, spec)
            _write(self.holder, b"", 0o755)
            _write(self._memory / _SPEC, encode_spec(spec), 0o600)
        except OSError as error:
            raise _failed_mount(spec, error) from error

    @held(*VOLUMES)
    def restore(self, spec: PodSpec) -> None:
        """Keep the specification again, and make the volumes that are missing; those that are there stay as they are.

        Raises StartError (FailedMount) for a volume that cannot be had.
        """
        try:
            for place in (self._memory, self._disk):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            for volume in spec.template.volumes:
                if not self._path(volume, spec.identity).exists():
                    self._create_volume(volume, spec)
            _write(self._memory / _SPEC, encode_spec(spec), 0o600)
        except OSError as error:
            raise _failed_mount(spec, error) from error

    @property
    def holder(self) -> Path:
        """A program of no bytes: what a container that is never run names as its own."""
        return self._disk / _HOLDER

    def read_spec(self) -> PodSpec | None:
        """The specification a former daemon kept; None if it is lost or not understood."""
        try:
            with (self._memory / _SPEC).open("rb") as file:
                return decode_spec(file.read(MAX_SPEC_BYTES + 1))
        except (OSError, ValueError):
            return None

    def mark_ended(self) -> None:
        """Remember that this pod was told to end, so that no later daemon starts it again.

        The specification becomes the mark, because a full file system has no room for another file.

        Raises RuntimeUnavailableError if that cannot be kept, naming the directory.
        """
        mark = self._memory / _ENDED
        try:
            if not self._memory.is_dir() or mark.is_file():
                return
            try:
                (self._memory / _SPEC).rename(mark)
            except FileNotFoundError:
                _write(mark, b"", 0o600)
        except OSError as error:
            raise RuntimeUnavailableError(
                f"pod {self._uid}: its end cannot be noted ({error}); see: df -h {self._memory}"
            ) from error

    def ended(self) -> bool:
        """Whether the pod was told to end."""
        return (self._memory / _ENDED).exists()

    @held(*VOLUMES)
    def remove(self) -> None:
        """Remove everything. Does nothing the second time.

        Raises OSError if something cannot be removed.
        """
        for place in (self._memory, self._disk):
            if place.exists():
                shutil.rmtree(place)

    @held(*VOLUMES)
    def mounts(self, spec: PodSpec, container: Container) -> list[Mount]:
        """Where a container sees the pod's volumes.

        Raises StartError (FailedMount) if a subPath leads out of its volume or cannot be made.
        """
        volumes = {volume.name: volume for volume in spec.template.volumes}
        mounts = []
        for mount in container.mounts:
            volume = volumes[mount.name]
            read_only = mount.read_only or isinstance(volume.source, Files)
            named = memory_volume(volume)
            if named and mount.sub_path:
                raise StartError("FailedMount", f"volume {mount.name}: subPath in an emptyDir of medium Memory")
            path = self._path(volume, spec.identity)
            if mount.sub_path:
                inside_volume(path, mount.sub_path, volume.name)
            mounts.append(
                Mount(
                    volume_name(self._config, spec.identity, volume) if named else str(path),
                    mount.mount_path,
                    read_only,
                    named_volume=named,
                    relabel=not named and not isinstance(volume.source, HostPath),
                    sub_path=mount.sub_path,
                )
            )
        return mounts

    @held(*VOLUMES)
    def over_limit(self, spec: PodSpec) -> Volume | None:
        """The first disk emptyDir that holds more than its sizeLimit; memory ones are bounded by the kernel."""
        for volume in spec.template.volumes:
            source = volume.source
            limit = source.size_limit_bytes if isinstance(source, EmptyDir) and not source.medium_memory else 0
            if limit and _used_bytes(self._path(volume, spec.identity)) > limit:
                return volume
        return None

    def _path(self, volume: Volume, identity: PodIdentity) -> Path:
        if isinstance(volume.source, HostPath):
            return Path(volume.source.path)
        if isinstance(volume.source, LocalVolume):
            name = f"{volume.name}-{identity.workload}-{identity.slot}"
            return self._config.state_dir / _LOCAL / identity.namespace / name
        secret = isinstance(volume.source, Files) and volume.source.secret
        return (self._memory if secret else self._disk) / "volumes" / volume.name

    def _create_volume(self, volume: Volume, spec: PodSpec) -> None:
        source, fs_group = volume.source, spec.template.fs_group
        path = self._path(volume, spec.identity)
        if isinstance(source, HostPath):
            check_host_path(volume.name, source)
        elif isinstance(source, Files):
            _create_files(path, source, fs_group)
        elif isinstance(source, LocalVolume):
            if not path.exists():
                (self._config.state_dir / _LOCAL).mkdir(mode=0o700, parents=True, exist_ok=True)
                path.mkdir(parents=True)
                _own(path, 0o777, fs_group)
        elif not source.medium_memory:
            path.mkdir(parents=True)
            _own(path, 0o777, fs_group)


def memory_volume(volume: Volume) -> bool:
    """Whether a volume is a tmpfs, which Podman mounts."""
    return isinstance(volume.source, EmptyDir) and volume.source.medium_memory


def volume_name(config: RuntimeConfig, identity: PodIdentity, volume: Volume) -> str:
    """The name of a memory volume in Podman."""
    return f"{config.name_prefix}{identity.pod_uid}-{volume.name}"


def require_memory(path: Path) -> None:
    """Make the directory of secrets, and make sure that no disk is behind it.

    Raises RuntimeUnavailableError, naming the directory and what to do.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError as error:
        raise RuntimeUnavailableError(f"secret_dir {path}: {error}; choose another with secret_dir") from error
    real = path.resolve()
    found, kind = Path(), ""
    for line in mounts:
        before, _, after = line.partition(" - ")
        point = Path(before.split(" ")[4].encode().decode("unicode_escape"))
        # A later mount on the same point hides the earlier one.
        if real.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, after.split(" ")[0]
    if kind not in ("tmpfs", "ramfs"):
        raise RuntimeUnavailableError(
            f"secret_dir {path} lies on {kind or 'an unknown file system'}, and Secrets are kept in memory only: "
            "choose a directory on a tmpfs, usually below /run"
        )


def _failed_mount(spec: PodSpec, error: OSError) -> StartError:
    return StartError("FailedMount", f"pod {spec.identity.pod_name}: {error}; see: df -h {error.filename}")


def _create_files(path: Path, source: Files, fs_group: int | None) -> None:
    """Write all files aside and rename once, so that a volume is there whole or not at all."""
    aside = path.with_name(f".{path.name}")
    aside.mkdir(mode=0o700, parents=True)
    mode = source.default_mode if fs_group is None else source.default_mode | stat.S_IRGRP
    for name, content in source.files.items():
        inner = PurePosixPath(name)
        if inner.is_absolute() or ".." in inner.parts or not inner.parts:
            raise StartError("FailedMount", f"volume {path.name}: file {name!r} is not a path inside the volume")
        target = aside / inner
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _write(target, content, 0o600)
        _own(target, mode, fs_group)
    for directory, _, _ in os.walk(aside):
        _own(Path(directory), 0o755, fs_group)
    aside.rename(path)


def _own(path: Path, mode: int, fs_group: int | None) -> None:
    if may(Capability.CHOWN):
        os.chown(path, 0, fs_group or 0)
    if fs_group is not None:
        mode |= stat.S_ISGID if path.is_dir() else 0
    path.chmod(mode)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _used_bytes(path: Path) -> int:
    """Blocks in use, as du counts them; what vanishes meanwhile counts nothing."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(directory, name), follow_symlinks=False).st_blocks * 512
            except OSError:
                continue
    return total
