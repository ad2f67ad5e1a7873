"""What a kind of workload says of its replicas: how many, and how a change reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from beemesh_node.protocol.messages import Expression
from beemesh_node.workloads import names
from beemesh_node.workloads.errors import Problems
from beemesh_node.workloads.manifest import KubernetesObject
from beemesh_node.workloads.pod import PodTemplate
from beemesh_node.workloads.rollout import Rollout, window
from beemesh_node.workloads.selectors import label_selector, matches
from beemesh_node.workloads.values import Json

MAX_REPLICAS = 10_000
_INT32 = 2**31 - 1
_NEVER = _INT32
"""Seconds: a StatefulSet has no progress deadline."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How replicas are kept. Times are in seconds."""

    replicas: int
    max_surge: int
    max_unavailable: int
    min_ready_seconds: int
    progress_deadline_seconds: int
    revision_history_limit: int
    selector: tuple[Expression, ...]
    rollout: Rollout = Rollout.ROLLING


POD_RULES = Rules(1, 0, 1, 0, 600, 0, ())
"""A Pod is one slot; a changed one replaces it."""


def rules_of(workload: KubernetesObject, template: PodTemplate, problems: Problems) -> Rules:
    """The rules of a workload. Whatever is wrong is added to `problems`."""
    match workload.kind:
        case "Deployment":
            return _deployment(workload, template, problems)
        case "StatefulSet":
            return _stateful_set(workload, template, problems)
        case _:
            return POD_RULES


def _deployment(workload: KubernetesObject, template: PodTemplate, problems: Problems) -> Rules:
    spec = workload.body["spec"]
    numbers = _numbers(spec, problems, progressDeadlineSeconds=600)
    if numbers["progressDeadlineSeconds"] <= numbers["minReadySeconds"]:
        problems.add("spec.progressDeadlineSeconds", "must be greater than minReadySeconds")
    strategy, replicas = spec.get("strategy", {}), max(0, numbers["replicas"])
    if strategy.get("type") == "Recreate":
        if "rollingUpdate" in strategy:
            problems.add("spec.strategy.rollingUpdate", "may not be given when `type` is Recreate")
        rollout, surge, unavailable = Rollout.RECREATE, 0, max(1, replicas)
    else:
        rollout = Rollout.ROLLING
        surge, unavailable = window(
            replicas, strategy.get("rollingUpdate", {}), "spec.strategy.rollingUpdate", problems
        )
    return Rules(
        replicas=numbers["replicas"],
        max_surge=surge,
        max_unavailable=unavailable,
        min_ready_seconds=numbers["minReadySeconds"],
        progress_deadline_seconds=numbers["progressDeadlineSeconds"],
        revision_history_limit=numbers["revisionHistoryLimit"],
        selector=_selector(workload, template, problems),
        rollout=rollout,
    )


def _stateful_set(workload: KubernetesObject, template: PodTemplate, problems: Problems) -> Rules:
    spec = workload.body["spec"]
    numbers = _numbers(spec, problems)
    with problems.at("metadata.name"):
        # The name of the last pod is a host name, which is a DNS label.
        names.check_label(f"{workload.name}-{max(0, numbers['replicas'] - 1)}")
    return Rules(
        replicas=numbers["replicas"],
        max_surge=0,
        max_unavailable=1,
        min_ready_seconds=numbers["minReadySeconds"],
        progress_deadline_seconds=_NEVER,
        revision_history_limit=numbers["revisionHistoryLimit"],
        selector=_selector(workload, template, problems),
        rollout=Rollout.PARALLEL if spec.get("podManagementPolicy") == "Parallel" else Rollout.ORDERED,
    )


def _numbers(spec: Mapping[str, Json], problems: Problems, **more: int) -> dict[str, int]:
    defaults = {"replicas": 1, "minReadySeconds": 0, "revisionHistoryLimit": 10, **more}
    numbers = {}
    for name, default in defaults.items():
        most = MAX_REPLICAS if name == "replicas" else _INT32
        numbers[name] = spec.get(name, default)
        if not 0 <= numbers[name] <= most:
            problems.add(f"spec.{name}", f"{numbers[name]} must be between 0 and {most}")
    return numbers


def _selector(workload: KubernetesObject, template: PodTemplate, problems: Problems) -> tuple[Expression, ...]:
    before = len(problems)
    selector = label_selector(workload.body["spec"].get("selector", {}), "spec.selector", problems)
    if not selector:
        problems.add("spec.selector", f"empty selector is invalid for a {workload.kind}")
    elif len(problems) == before and not matches(selector, template.labels):
        problems.add("spec.template.metadata.labels", "`selector` does not match template `labels`")
    return selector
