"""What can go wrong between the node and the container runtime.

Every message names the object it is about and the next step to take.
"""

from pathlib import PurePath


class ContainerRuntimeError(Exception):
    """Base of every error of this package."""


class RuntimeUnavailableError(ContainerRuntimeError):
    """Nothing that is Podman answers in time at the configured socket, or the machine lacks what the runtime needs."""

    @classmethod
    def at(cls, socket: object, what: str) -> "RuntimeUnavailableError":
        """Name the socket, what was seen there, and how to look further."""
        # The one that the role `node` makes for the daemon, or Podman's own.
        unit = "beemesh-podman" if PurePath(str(socket)).stem == "beemesh-podman" else "podman"
        return cls(f"Podman at {socket}: {what}. Look at it with: systemctl status {unit}.socket {unit}.service")


class PodmanRefusedError(ContainerRuntimeError):
    """Podman answered a request with an error. `status` is the HTTP status, `message` Podman's own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class StartError(ContainerRuntimeError):
    """A pod or a container could not be started, and nothing of the attempt was left behind.

    `reason` is Kubernetes' word for it (ErrImagePull, ErrImageNeverPull, InvalidImageName, CreateContainerConfigError,
    CreateContainerError, RunContainerError, DiskPressure, PortConflict, FailedMount, NetworkNotReady); `message` is for
    people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class NoSuchPodError(ContainerRuntimeError):
    """There is no such pod on this machine, or no such container in the pod."""


class GuardError(RuntimeUnavailableError):
    """The guard of a leased pod cannot be started, reached or ended; its deadline stands as it is."""
