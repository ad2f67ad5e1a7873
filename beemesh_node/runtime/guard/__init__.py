"""The guard of a leased pod: when the lease is over the kernel ends the pod, whoever else hangs."""

from beemesh_node.runtime.guard.client import Guard, boottime
from beemesh_node.runtime.guard.first_process import refuse_first_process
from beemesh_node.runtime.guard.guards import Guards
from beemesh_node.runtime.guard.orphans import end_orphans

__all__ = ["Guard", "Guards", "boottime", "end_orphans", "refuse_first_process"]
