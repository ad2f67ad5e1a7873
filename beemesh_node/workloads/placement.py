"""What a machine must have to run a replica: the only part of a manifest that every member may read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from beemesh_node.protocol.messages import PodTerm, Requirements, Term, Toleration
from beemesh_node.workloads import names
from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.pod import Container, PodTemplate, PullPolicy
from beemesh_node.workloads.selectors import check_expression, expressions_of, label_selector
from beemesh_node.workloads.values import Json

HIGHEST_PRIORITY = 1_000_000_000
"""The highest that a pod may ask for by number, as Kubernetes keeps what is above for its own classes."""
PRIORITY_CLASSES: Mapping[str, int] = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""The classes that every Kubernetes cluster has, with its numbers."""

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def requirements(
    spec: Mapping[str, Json], path: str, namespace: str, template: PodTemplate, problems: Problems
) -> Requirements:
    """The requirements of a pod spec whose containers are already in `template`."""
    selector = spec.get("nodeSelector", {})
    for key, value in selector.items():
        with problems.at(f"{path}.nodeSelector[{key[:80]}]"):
            names.check_label_key(key)
            names.check_label_value(value)
    affinity, at = spec.get("affinity", {}), f"{path}.affinity"
    node, node_at = affinity.get("nodeAffinity", {}), f"{at}.nodeAffinity"
    containers = (*template.init_containers, *template.containers)
    return Requirements(
        cpu_millis=_sum_or_init(template, lambda each: each.requests.cpu_millis),
        memory_bytes=_sum_or_init(template, lambda each: each.requests.memory_bytes),
        host_ports=_host_ports(containers, template.host_network),
        node_selector=selector,
        node_terms=_node_terms(node, f"{node_at}.{_REQUIRED}", problems),
        preferred_terms=_preferred_terms(node, f"{node_at}.{_PREFERRED}", problems),
        tolerations=_tolerations(spec.get("tolerations", ()), f"{path}.tolerations", problems),
        pod_terms=(
            *_pod_terms(affinity.get("podAffinity", {}), f"{at}.podAffinity", namespace, False, problems),
            *_pod_terms(affinity.get("podAntiAffinity", {}), f"{at}.podAntiAffinity", namespace, True, problems),
        ),
        images=tuple(sorted({each.image for each in containers})),
        local_images=tuple(sorted({each.image for each in containers if each.pull_policy is PullPolicy.NEVER})),
        priority=_priority(spec, path, problems),
    )


def _priority(spec: Mapping[str, Json], path: str, problems: Problems) -> int:
    name, number = spec.get("priorityClassName") or "", spec.get("priority")
    known: int | None = PRIORITY_CLASSES.get(name)
    if known is not None:
        if number not in (None, known):
            problems.add(f"{path}.priority", f"{number} is not the priority of {name}, which is {known}: leave it out")
        return known
    value = int(number or 0)
    if not -HIGHEST_PRIORITY <= value <= HIGHEST_PRIORITY:
        problems.add(f"{path}.priority", f"{value} must be between -{HIGHEST_PRIORITY} and {HIGHEST_PRIORITY}")
    return value


def _sum_or_init(template: PodTemplate, amount: Callable[[Container], int]) -> int:
    """Containers run together, init containers one after another before them."""
    return max(sum(map(amount, template.containers)), max(map(amount, template.init_containers), default=0))


def _host_ports(containers: Iterable[Container], host_network: bool) -> tuple[int, ...]:
    ports = (port for each in containers for port in each.ports)
    return tuple(sorted({port.container_port if host_network else port.host_port for port in ports} - {0}))


def _node_terms(body: Mapping[str, Json], path: str, problems: Problems) -> tuple[Term, ...]:
    if _REQUIRED not in body:
        return ()
    terms = body[_REQUIRED]["nodeSelectorTerms"]
    if not terms:
        problems.add(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    return tuple(_term(each, f"{path}.nodeSelectorTerms[{index}]", 0, problems) for index, each in enumerate(terms))


def _preferred_terms(body: Mapping[str, Json], path: str, problems: Problems) -> tuple[Term, ...]:
    return tuple(
        _term(each["preference"], f"{path}[{index}].preference", _weight(each, f"{path}[{index}]", problems), problems)
        for index, each in enumerate(body.get(_PREFERRED, ()))
    )


def _term(body: Mapping[str, Json], path: str, weight: int, problems: Problems) -> Term:
    expressions = expressions_of(body, path)
    if not expressions:
        problems.add(f"{path}.matchExpressions", "must have at least one expression: an empty term matches no machine")
    for at, expression in expressions:
        with problems.at(at):
            check_expression(expression)
    return Term(tuple(expression for _, expression in expressions), weight)


def _weight(body: Mapping[str, Json], path: str, problems: Problems) -> int:
    weight: int = body["weight"]
    if not 1 <= weight <= 100:
        problems.add(f"{path}.weight", f"{weight} must be in the range 1-100")
    return weight


def _pod_terms(
    body: Mapping[str, Json], path: str, namespace: str, anti: bool, problems: Problems
) -> tuple[PodTerm, ...]:
    required = [(each, f"{path}.{_REQUIRED}[{index}]", 0) for index, each in enumerate(body.get(_REQUIRED, ()))]
    preferred = []
    for index, each in enumerate(body.get(_PREFERRED, ())):
        at = f"{path}.{_PREFERRED}[{index}]"
        preferred.append((each["podAffinityTerm"], f"{at}.podAffinityTerm", _weight(each, at, problems)))
    result = []
    for term, at, weight in required + preferred:
        if "labelSelector" not in term:
            problems.add(f"{at}.labelSelector", "required, but missing: without one the term matches no pod")
        with problems.at(f"{at}.topologyKey"):
            names.check_label_key(term["topologyKey"])
        for index, other in enumerate(term.get("namespaces", ())):
            with problems.at(f"{at}.namespaces[{index}]"):
                names.check_label(other)
        selector = label_selector(term.get("labelSelector", {}), f"{at}.labelSelector", problems)
        namespaces = tuple(term.get("namespaces", ())) or (namespace,)
        result.append(PodTerm(selector, namespaces, term["topologyKey"], anti, weight))
    return tuple(result)


def _tolerations(values: Iterable[Mapping[str, Json]], path: str, problems: Problems) -> tuple[Toleration, ...]:
    result = []
    for index, each in enumerate(values):
        at = f"{path}[{index}]"
        toleration = Toleration(
            each.get("key", ""), each.get("operator") or "Equal", each.get("value", ""), each.get("effect", "")
        )
        if toleration.key:
            with problems.at(f"{at}.key"):
                names.check_label_key(toleration.key)
        elif toleration.operator != "Exists":
            problems.add(f"{at}.operator", "must be Exists when `key` is empty, which means all values and all keys")
        if toleration.operator == "Exists" and toleration.value:
            problems.add(f"{at}.value", "must be empty when `operator` is Exists")
        result.append(toleration)
    return tuple(result)
