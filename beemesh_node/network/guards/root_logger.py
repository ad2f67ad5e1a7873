"""The library logs some events through the root logger's module functions, which install a handler of their own.

From then on every record of the process is printed twice. Guarded by giving that module a logger that has a name.
"""

import logging

from beemesh_node.network.guards import Substitution
from beemesh_node.network.library import swarm_connection

SUBSTITUTION = Substitution(
    "root-logger", swarm_connection, "logging", logging.getLogger("libp2p.network.connection.swarm_connection")
)
