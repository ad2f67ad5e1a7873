"""What a machine must have to run a replica."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Expression:
    """v1.NodeSelectorRequirement and LabelSelectorRequirement: `operator` In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """Expressions that must all hold. `weight` is 0 for a required term, 1 to 100 for a preferred one."""

    expressions: tuple[Expression, ...]
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Toleration:
    """v1.Toleration: `operator` is Equal or Exists; an empty `effect` or key matches all."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class PodTerm:
    """Pod (anti-)affinity: pods with these labels (in these namespaces), counted per value of the topology key."""

    selector: tuple[Expression, ...]
    namespaces: tuple[str, ...]
    topology_key: str
    anti: bool
    weight: int = 0
    """0 for a required term, 1 to 100 for a preferred one."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a machine must have to run one replica. All of it is readable by every member; manifests are not in it."""

    cpu_millis: int
    memory_bytes: int
    host_ports: tuple[int, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_terms: tuple[Term, ...] = ()
    """Required terms of which one must hold; none means no restriction."""
    preferred_terms: tuple[Term, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    pod_terms: tuple[PodTerm, ...] = ()
    images: tuple[str, ...] = ()
    priority: int = 0
    local_images: tuple[str, ...] = ()
    """Those of the images that must be on the machine already: they are never pulled."""
    leased: bool = False
    """It may run only under a lease, which takes a machine that can guard pods."""
