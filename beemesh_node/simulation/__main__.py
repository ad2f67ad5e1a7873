"""`python -m beemesh_node.simulation`: a mesh that exists in this process only."""

from beemesh_node.simulation.command import simulate

simulate(prog_name="./lab simulate")
