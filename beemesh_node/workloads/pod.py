"""The pod model: what a machine needs to know to run one replica, already validated and with every reference resolved.

It is what `workloads.manifest` produces from a Kubernetes PodTemplate and what `runtime` turns into containers. All of
it is plain immutable data. Field names follow the Kubernetes API (v1.Pod); units are spelled out here: CPU in
millicores, memory in bytes, times in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class RestartPolicy(StrEnum):
    """When an ended container is started again (v1.PodSpec.restartPolicy)."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class PullPolicy(StrEnum):
    """When an image is fetched (v1.Container.imagePullPolicy)."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class Resources:
    """Amounts of what a machine can run out of. Zero means "none asked for"."""

    cpu_millis: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port a container listens on; `host_port` 0 means it is not published on the machine."""

    container_port: int
    host_port: int = 0
    host_ip: str = ""
    protocol: str = "TCP"
    name: str = ""


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """Where a container sees a volume of its pod. `sub_path` is relative and free of `..`."""

    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A directory that lives as long as the pod; in memory when `medium_memory`. `size_limit_bytes` 0: no limit."""

    medium_memory: bool = False
    size_limit_bytes: int = 0


@dataclass(frozen=True, slots=True)
class HostPath:
    """A path of the machine (v1.HostPathVolumeSource), `type` as in Kubernetes ("" or DirectoryOrCreate …)."""

    path: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Files:
    """A ConfigMap or Secret as files: path inside the volume -> content. `secret` content lives in memory only."""

    files: Mapping[str, bytes] = field(repr=False)
    secret: bool
    default_mode: int = 0o644


@dataclass(frozen=True, slots=True)
class LocalVolume:
    """A directory of the machine that belongs to a slot, not to a pod: it outlives every pod of its StatefulSet."""

    size_bytes: int = 0
    """What was asked for. Told to people, not enforced."""


VolumeSource = EmptyDir | HostPath | Files | LocalVolume


@dataclass(frozen=True, slots=True)
class Volume:
    """A named volume of a pod."""

    name: str
    source: VolumeSource


@dataclass(frozen=True, slots=True)
class ExecAction:
    """Healthy when the command, run in the container, exits 0."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HttpGetAction:
    """Healthy when the answer's status is 200 to 399. An empty `host` means the pod's own address."""

    port: int
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpSocketAction:
    """Healthy when a connection opens. An empty `host` means the pod's own address."""

    port: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """v1.Probe with its defaults. Named ports are resolved."""

    action: ExecAction | HttpGetAction | TcpSocketAction
    initial_delay_seconds: float = 0
    period_seconds: float = 10
    timeout_seconds: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class SecurityContext:
    """What a container may do. The defaults are the least that runs an ordinary image."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool = False
    privileged: bool = False
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp_unconfined: bool = False


@dataclass(frozen=True, slots=True)
class EnvVar:
    """One variable. `value` is final, except that a downward `field_path` is filled in by the machine."""

    name: str
    value: str = field(default="", repr=False)
    field_path: str = ""
    """One of metadata.name, metadata.namespace, metadata.uid, spec.nodeName, status.podIP, status.hostIP, or ""."""
    secret: bool = False
    """True when the value came from a Secret: it is never logged and is kept out of `describe`."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod."""

    name: str
    image: str
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    requests: Resources = Resources()
    limits: Resources = Resources()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    security: SecurityContext = SecurityContext()
    stdin: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What every replica of one revision shares."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    termination_grace_seconds: float = 30
    host_network: bool = False
    hostname: str = ""
    fs_group: int | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    dns_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Which replica of which declaration and revision a pod is.

    It is written on the containers as labels, and by it a restarted daemon knows its pods again.
    """

    namespace: str
    kind: str
    workload: str
    uid: str
    """The declaration's uid (not the pod's)."""
    slot: int
    attempt: int
    sequence: int
    """The record's sequence under which the pod was started."""
    revision: str
    """Hash of the template: the pods of one revision are alike."""
    pod_name: str
    pod_uid: str


@dataclass(frozen=True, slots=True)
class PodSpec:
    """One replica, ready to run."""

    identity: PodIdentity
    template: PodTemplate
    leased: bool = False
    """Whether it may run only while a lease lasts: see `healing.leases`."""


RUNTIME_UNAVAILABLE = "RuntimeUnavailable"
"""Reason of a container that does not run, and that its machine cannot start because its Podman does not answer."""
DISK_PRESSURE = "DiskPressure"
"""Reason of a container that its machine cannot start because a disk is full (Kubernetes' word)."""
MACHINE_FAULTS = frozenset((RUNTIME_UNAVAILABLE, DISK_PRESSURE))
"""Reasons that lie in the machine: on another one the container may run."""


class PodPhase(StrEnum):
    """v1.PodStatus.phase."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """What is known of one container. `state` is waiting, running or terminated, as in v1.ContainerState."""

    name: str
    image: str
    state: str = "waiting"
    ready: bool = False
    started: bool = False
    restart_count: int = 0
    reason: str = ""
    """Kubernetes' word: ContainerCreating, ErrImagePull, ImagePullBackOff, CrashLoopBackOff, Completed, OOMKilled …"""
    message: str = ""
    exit_code: int = 0
    started_at_ms: int = 0
    finished_at_ms: int = 0
    container_id: str = ""
    image_id: str = ""
    last_exit_code: int = 0
    last_reason: str = ""
    last_message: str = ""
    """Why the last life ended, where that is known: a probe that failed, a monitor that died."""
    last_finished_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class PodStatus:
    """What is known of one pod on this machine."""

    identity: PodIdentity
    phase: PodPhase
    ready: bool
    containers: tuple[ContainerStatus, ...] = ()
    init_containers: tuple[ContainerStatus, ...] = ()
    reason: str = ""
    message: str = ""
    pod_ip: str = ""
    started_at_ms: int = 0
