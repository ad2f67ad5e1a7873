"""What this computer is and lacks, and what Podman needs to be told because of it.

Programs are looked for by their names, wherever a distribution puts them; only to install them takes a Debian.
"""

import os
import resource
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labs.paths import CONTAINERS_CONF
from labs.run import LabError, run, run_logged

_CAP_SYS_RESOURCE = 24
_PROGRAMS = {
    "podman": "podman",
    "netavark": "netavark",
    "catatonit": "catatonit",
    "iptables": "iptables",
    "nft": "nftables",
    "mmdebstrap": "mmdebstrap",
    "busybox": "busybox-static",
    "ssh": "openssh-client",
    "ip": "iproute2",
}
"""What a lab runs, with the Debian package of each."""

_TEST_PROGRAMS = {"flatc": "flatbuffers-compiler", "ps": "procps", "tcpdump": "tcpdump"}

_PLACES = (
    *("/usr/local/sbin", "/usr/sbin", "/sbin"),
    *("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"),
)
"""Beside the PATH: where programs for root are, and where Podman looks for its helpers."""


@dataclass(frozen=True)
class Host:
    """The properties of this computer that matter to a lab."""

    pure_cgroup2: bool
    """Whether only the unified hierarchy is mounted. With a hybrid or version 1 hierarchy crun refuses to work, and so
    does a systemd newer than 255 inside a container."""

    systemd: bool
    """Whether systemd runs here; without it Podman must manage cgroups itself."""

    fixed_limits: dict[str, int]
    """Hard resource limits that even root may not raise here (a container asking for more fails to start)."""

    suite: str
    """The Debian release of this computer, or "bookworm" where it is another system."""

    @property
    def oci_runtime(self) -> str:
        """The program that starts containers."""
        return "crun" if self.pure_cgroup2 else "runc"

    @property
    def machine_suite(self) -> str:
        """The Debian release for lab machines: this computer's, unless its systemd may not run here in a container."""
        return self.suite if self.pure_cgroup2 else "bookworm"

    @property
    def init_options(self) -> list[str]:
        """What Podman needs to be told so that a systemd starts in a container."""
        if self.pure_cgroup2:
            return ["--systemd=always"]
        # Podman 5 refuses its own systemd mode in a control group namespace of version 1: this is what that mode does.
        mounts = [f"--tmpfs={path}" for path in ("/run", "/run/lock", "/tmp")]  # noqa: S108 - in the container
        return ["--systemd=false", "--env=container=podman", "--stop-signal=SIGRTMIN+3", *mounts]

    def containers_conf(self, *, inside: bool) -> str:
        """Podman's configuration: for this computer, or (`inside`) for the Podman of a lab machine on it."""
        manager = "systemd" if inside or self.systemd else "cgroupfs"
        limits = ", ".join(f'"{name}={value}:{value}"' for name, value in sorted(self.fixed_limits.items()))
        return "\n".join(
            [
                "# Written by the lab for this computer.",
                "[containers]",
                *([f"default_ulimits = [{limits}]"] if limits else []),
                "[engine]",
                f'runtime = "{self.oci_runtime}"',
                f'cgroup_manager = "{manager}"',
                *([] if inside or self.systemd else ['events_logger = "file"']),
                "[network]",
                'network_backend = "netavark"',
                "",
            ]
        )


def detect() -> Host:
    """Look at this computer."""
    release = _os_release()
    suite = release.get("VERSION_CODENAME", "") if release.get("ID") == "debian" else ""
    return Host(
        pure_cgroup2=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        systemd=Path("/run/systemd/system").is_dir(),
        fixed_limits={} if _may_raise_limits() else _hard_limits(),
        suite=suite if suite in {"bookworm", "trixie"} else "bookworm",
    )


def find_program(name: str) -> str | None:
    """Return the path of a program, None if it is nowhere."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES]))


def missing_programs(host: Host, *, testing: bool = False) -> dict[str, str]:
    """The programs that are missing here for a lab, and with `testing` for the tests, with their Debian packages."""
    wanted = _PROGRAMS | {host.oci_runtime: host.oci_runtime} | (_TEST_PROGRAMS if testing else {})
    return {name: package for name, package in wanted.items() if find_program(name) is None}


def lacking(missing: Mapping[str, str]) -> str:
    """Say what is missing, by the names of the programs and by those of Debian's packages."""
    return f"this computer lacks {', '.join(missing)} (Debian's packages: {' '.join(missing.values())})"


def install(missing: Mapping[str, str]) -> None:
    """Install missing programs from their Debian packages.

    Raises:
        LabError: there is no apt, or it failed.
    """
    if shutil.which("apt-get") is None:
        raise LabError(f"{lacking(missing)} and is no Debian: install them yourself, then run ./lab up again")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    run_logged(["apt-get", "update"], "apt-update", env=env)
    run_logged(["apt-get", "install", "-y", "--no-install-recommends", *missing.values()], "apt-install", env=env)


def prepare_podman(host: Host) -> None:
    """Point Podman, here and in every program started from here, at a configuration that works on this computer.

    The computer's own /etc/containers stays as it is.

    Raises:
        LabError: Podman does not answer.
    """
    CONTAINERS_CONF.parent.mkdir(parents=True, exist_ok=True)
    CONTAINERS_CONF.write_text(host.containers_conf(inside=False))
    os.environ["CONTAINERS_CONF"] = str(CONTAINERS_CONF)
    if not host.pure_cgroup2:
        # Podman 5 would say at every call that this is going out of use, in the midst of what is read from it.
        os.environ["PODMAN_IGNORE_CGROUPSV1_WARNING"] = "1"
    try:
        run(["podman", "info", "--format", "{{.Host.OCIRuntime.Name}}"], timeout=60)
    except LabError as error:
        raise LabError(f"Podman does not work on this computer: {error}") from error


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _may_raise_limits() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False


def _hard_limits() -> dict[str, int]:
    hard = {
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "nproc": resource.getrlimit(resource.RLIMIT_NPROC)[1],
    }
    limits = {name: value for name, value in hard.items() if value != resource.RLIM_INFINITY}
    if "nproc" in limits:
        # Podman lowers its own hard limit to this at start, and so that of all it starts.
        limits["nproc"] = min(limits["nproc"], int(Path("/proc/sys/kernel/pid_max").read_text()))
    return limits
