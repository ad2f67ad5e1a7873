"""Runners tell guardians how their replicas are, and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClaimRef:
    """One replica on one machine. Of two for a slot and revision the lower (attempt, machine) is better."""

    uid: str
    sequence: int
    slot: int
    attempt: int
    machine: str
    revision: str


@dataclass(frozen=True, slots=True)
class ContainerReport:
    """workloads.pod.ContainerStatus as it travels; see there."""

    name: str
    image: str
    state: str
    ready: bool
    started: bool
    restart_count: int
    reason: str
    message: str
    exit_code: int
    started_at: int
    finished_at: int
    container_id: str
    image_id: str
    last_exit_code: int
    last_reason: str
    last_finished_at: int


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """The machine of a claim says how it is. `gone` ends the claim."""

    claim: ClaimRef
    namespace: str
    workload: str
    pod_name: str
    pod_uid: str
    phase: str
    ready: bool
    reason: str
    message: str
    pod_ip: str
    host_ip: str
    created_at: int
    started_at: int
    containers: tuple[ContainerReport, ...]
    init_containers: tuple[ContainerReport, ...]
    gone: bool
    version: int
    """Grows with every report of one claim, so that late ones are known as old."""
    leaving: str = ""
    """Why it is to be moved to another machine ("oak is drained"), empty if it is to stay."""
    home: str = ""
    """The machine that holds the volumes of this slot, where it has any and it is known."""


@dataclass(frozen=True, slots=True)
class ClaimReports:
    """The machine of these claims tells their guardian how they are: all that changed within a moment."""

    reports: tuple[ClaimReport, ...]
    events: tuple[EventReport, ...] = ()
    """What happened to claims there: guardians keep it, so that it outlives the machine."""


@dataclass(frozen=True, slots=True)
class EventReport:
    """v1.Event in short. `uid` is the declaration it is about; `count` how often it happened since `first_at`."""

    uid: str
    namespace: str
    kind: str
    name: str
    type: str
    """Normal or Warning."""
    reason: str
    message: str
    machine: str
    first_at: int
    last_at: int
    count: int
    pod: str = ""
    """The pod that it happened to, if it was one."""
    slot: int = -1
    """The replica that it happened to; -1 when it is about none alone."""
