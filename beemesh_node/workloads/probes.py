"""Probes of a container, with Kubernetes' defaults and with named ports resolved."""

from __future__ import annotations

from collections.abc import Mapping

from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.pod import ContainerPort, ExecAction, HttpGetAction, Probe, TcpSocketAction
from beemesh_node.workloads.values import Json

_ACTIONS = ("exec", "httpGet", "tcpSocket")
_NUMBERS = {  # field: (default, smallest)
    "initialDelaySeconds": (0, 0),
    "periodSeconds": (10, 1),
    "timeoutSeconds": (1, 1),
    "successThreshold": (1, 1),
    "failureThreshold": (3, 1),
}


def probe(
    body: Mapping[str, Json], kind: str, path: str, ports: tuple[ContainerPort, ...], problems: Problems
) -> Probe | None:
    """The probe `kind` (livenessProbe, readinessProbe, startupProbe) of a container; None when it has none."""
    if kind not in body:
        return None
    value, at = body[kind], f"{path}.{kind}"
    numbers = {}
    for field, (default, smallest) in _NUMBERS.items():
        # Kubernetes takes an explicit zero for "not given".
        number = value.get(field, default) or default
        if number < smallest:
            problems.add(f"{at}.{field}", f"{number} must be greater than or equal to {smallest}")
        numbers[field] = number
    if kind != "readinessProbe" and numbers["successThreshold"] != 1:
        problems.add(f"{at}.successThreshold", f"must be 1 for a {kind}")
    action = _action(value, at, ports, problems)
    if action is None:
        return None
    return Probe(
        action,
        initial_delay_seconds=numbers["initialDelaySeconds"],
        period_seconds=numbers["periodSeconds"],
        timeout_seconds=numbers["timeoutSeconds"],
        success_threshold=numbers["successThreshold"],
        failure_threshold=numbers["failureThreshold"],
    )


def _action(
    body: Mapping[str, Json], path: str, ports: tuple[ContainerPort, ...], problems: Problems
) -> ExecAction | HttpGetAction | TcpSocketAction | None:
    given = [name for name in _ACTIONS if name in body]
    if len(given) != 1:
        problems.add(path, "needs exactly one of exec, httpGet and tcpSocket")
        return None
    value, at = body[given[0]], f"{path}.{given[0]}"
    if given[0] == "exec":
        if not value.get("command"):
            problems.add(f"{at}.command", "required, but missing")
        return ExecAction(tuple(value.get("command", ())))
    port = _port(value["port"], f"{at}.port", ports, problems)
    if given[0] == "tcpSocket":
        return TcpSocketAction(port, value.get("host", ""))
    headers = tuple((header["name"], header["value"]) for header in value.get("httpHeaders", ()))
    for index, header in enumerate(headers):
        if any(character in part for part in header for character in "\r\n\0"):
            problems.add(f"{at}.httpHeaders[{index}]", "must not have line breaks")
    location = value.get("path", "") or "/"
    if any(character <= " " for character in location):
        problems.add(f"{at}.path", "must not have spaces or control characters")
    return HttpGetAction(
        port,
        path=location if location.startswith("/") else f"/{location}",
        host=value.get("host", ""),
        scheme=value.get("scheme", "HTTP"),
        headers=headers,
    )


def _port(value: int | str, path: str, ports: tuple[ContainerPort, ...], problems: Problems) -> int:
    if isinstance(value, str):
        for port in ports:
            if port.name == value:
                return port.container_port
        problems.add(path, f'"{value[:40]}" is the name of no port of this container')
    elif not 1 <= value <= 65535:
        problems.add(path, f"{value} must be between 1 and 65535")
    else:
        return value
    return 0
