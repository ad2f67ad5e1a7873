"""Least privilege, as Podman's container specification spells it."""

from __future__ import annotations

from typing import Any

from beemesh_node.workloads.pod import Container, PodTemplate, SecurityContext

KEPT_CAPABILITIES = frozenset(
    ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
)
"""What the entry points of ordinary images need as root: hand files to a service user, become that user, signal its
processes, listen below port 1024. Kubernetes' own default also has MKNOD, NET_RAW (forged packets on the bridge),
SYS_CHROOT, SETPCAP, SETFCAP and AUDIT_WRITE; a pod that needs one of those asks for it in `capabilities.add`."""

_KNOWN_CAPABILITIES = KEPT_CAPABILITIES | {
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "DAC_READ_SEARCH", "IPC_LOCK", "IPC_OWNER", "LEASE",
    "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BROADCAST", "NET_RAW", "SETFCAP",
    "SETPCAP", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE",
    "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
}  # fmt: skip
"""Those every kernel since 3.16 has: Podman refuses names that the kernel does not know."""


def security_spec(template: PodTemplate, container: Container, image_user: str) -> dict[str, Any]:
    """Everything of a container's specification that says what its processes may do."""
    security = container.security
    add, drop = _capabilities(security)
    spec: dict[str, Any] = {
        "privileged": security.privileged,
        "read_only_filesystem": security.read_only_root_filesystem,
        "read_write_tmpfs": False,
        # no_new_privs would take from a privileged container what it was just given (Kubernetes refuses the pair).
        "no_new_privileges": not (security.allow_privilege_escalation or security.privileged),
        "cap_add": add,
        "cap_drop": drop,
        "user": _user(security, image_user),
    }
    if security.seccomp_unconfined:
        spec["seccomp_profile_path"] = "unconfined"
    if template.fs_group is not None:
        spec["groups"] = [str(template.fs_group)]
    return spec


def _capabilities(security: SecurityContext) -> tuple[list[str], list[str]]:
    """What to add to and drop from Podman's own default, which a machine's containers.conf may have widened.

    The kept ones are never *added*: Podman gives an added capability to non-root users too, as an ambient one.
    """
    if security.privileged:
        return [], []
    add = {name.upper().removeprefix("CAP_") for name in security.add_capabilities}
    drop = {name.upper().removeprefix("CAP_") for name in security.drop_capabilities}
    if "ALL" not in drop | add:
        drop |= _KNOWN_CAPABILITIES - KEPT_CAPABILITIES
    elif "ALL" in drop:
        drop = {"ALL"}
    return sorted(add), sorted(drop - add)


def _user(security: SecurityContext, image_user: str) -> str:
    """`user` or `user:group`. A group alone keeps the image's user."""
    user = image_user.partition(":")[0] if security.run_as_user is None else str(security.run_as_user)
    if security.run_as_group is not None:
        return f"{user or '0'}:{security.run_as_group}"
    return "" if security.run_as_user is None else user


def needs_image_user(security: SecurityContext) -> bool:
    """Whether the image's own USER decides something: an extra question to Podman, so asked only then."""
    return security.run_as_user is None and (security.run_as_non_root or security.run_as_group is not None)


def refusal(container: Container, image_user: str) -> str:
    """Why the container's own words forbid to run it; empty if they do not (kubelet's `verifyRunAsNonRoot`)."""
    security = container.security
    if not security.run_as_non_root:
        return ""
    if security.run_as_user is not None:
        return f"container {container.name}: runAsNonRoot, but runAsUser is 0" if security.run_as_user == 0 else ""
    name = image_user.partition(":")[0]
    if name in ("", "0", "root"):
        return f"container {container.name}: runAsNonRoot, but image {container.image} runs as root; set runAsUser"
    if not name.isdigit():
        return (
            f"container {container.name}: runAsNonRoot, but image {container.image} runs as {name!r}, which cannot be "
            "told from root; set runAsUser"
        )
    return ""
