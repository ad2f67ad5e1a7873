"""Security contexts: what a pod asks for and what its containers get. The least privilege is the default."""

from __future__ import annotations

import re
from collections.abc import Mapping

from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.pod import SecurityContext
from beemesh_node.workloads.values import Json

BASELINE_CAPABILITIES = frozenset(
    (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
"""What may be added without privilege: the "baseline" of Kubernetes' Pod Security Standards."""

_CAPABILITY = re.compile(r"[A-Z][A-Z_]{1,40}")
_MAX_ID = 2**31 - 1


def security_context(
    own: Mapping[str, Json], of_pod: Mapping[str, Json], path: str, problems: Problems
) -> SecurityContext:
    """The context of a container: its own, before the pod's, before the defaults."""
    merged = {**of_pod, **own}
    for field in ("runAsUser", "runAsGroup"):
        check_id(own.get(field), f"{path}.{field}", problems)
    if merged.get("runAsNonRoot") and merged.get("runAsUser") == 0:
        problems.add(f"{path}.runAsNonRoot", "is true, but runAsUser is 0: give another user")
    capabilities = own.get("capabilities", {})
    add = _capabilities(capabilities.get("add", ()), f"{path}.capabilities.add", problems)
    drop = _capabilities(capabilities.get("drop", ()), f"{path}.capabilities.drop", problems)
    privileged = own.get("privileged", False)
    needs_escalation = privileged or "SYS_ADMIN" in add
    escalation = own.get("allowPrivilegeEscalation", needs_escalation)
    if needs_escalation and not escalation:
        what = "`privileged` to true" if privileged else "to add SYS_ADMIN"
        problems.add(f"{path}.allowPrivilegeEscalation", f"cannot be false together with {what}")
    return SecurityContext(
        run_as_user=merged.get("runAsUser"),
        run_as_group=merged.get("runAsGroup"),
        run_as_non_root=merged.get("runAsNonRoot", False),
        privileged=privileged,
        read_only_root_filesystem=own.get("readOnlyRootFilesystem", False),
        allow_privilege_escalation=escalation,
        add_capabilities=add,
        drop_capabilities=drop,
        seccomp_unconfined=merged.get("seccompProfile", {}).get("type") == "Unconfined",
    )


def is_privileged(context: SecurityContext) -> bool:
    """Whether the container could take over its machine: privileged, unconfined, or with dangerous capabilities."""
    dangerous = set(context.add_capabilities) - BASELINE_CAPABILITIES
    return context.privileged or context.seccomp_unconfined or bool(dangerous)


def check_id(value: int | None, path: str, problems: Problems) -> None:
    """Check a user or group id."""
    if value is not None and not 0 <= value <= _MAX_ID:
        problems.add(path, f"{value} must be between 0 and {_MAX_ID}")


def _capabilities(values: Json, path: str, problems: Problems) -> tuple[str, ...]:
    result = []
    for index, value in enumerate(values):
        name = value.removeprefix("CAP_")
        if _CAPABILITY.fullmatch(name):
            result.append(name)
        else:
            problems.add(f"{path}[{index}]", f'"{value[:40]}" is no capability: write for example NET_BIND_SERVICE')
    return tuple(result)
