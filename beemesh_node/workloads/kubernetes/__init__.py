"""What a mesh shows, in Kubernetes' own shapes: workloads, Pod, Node, Event, and the tables that kubectl makes.

Everything is built from what machines report. Those reports may be late or wrong; nothing here raises for their values.
Of Secrets only names appear: what refers to one is shown as in the manifest, never what it holds.
"""

from beemesh_node.workloads.kubernetes.deployment import Progress, deployment, progress
from beemesh_node.workloads.kubernetes.events import event
from beemesh_node.workloads.kubernetes.node import node
from beemesh_node.workloads.kubernetes.pods import pod
from beemesh_node.workloads.kubernetes.stateful_set import stateful_set
from beemesh_node.workloads.kubernetes.tables import (
    Table,
    deployment_table,
    event_table,
    node_table,
    pod_table,
    stateful_set_table,
)
from beemesh_node.workloads.kubernetes.times import human_duration, timestamp

__all__ = [
    "Progress",
    "Table",
    "deployment",
    "deployment_table",
    "event",
    "event_table",
    "human_duration",
    "node",
    "node_table",
    "pod",
    "pod_table",
    "progress",
    "stateful_set",
    "stateful_set_table",
    "timestamp",
]
