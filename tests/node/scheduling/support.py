from dataclasses import replace

from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Requirements

GIB = 1024**3


def member(name="edge-1", **fields):
    base = Member(MachineId(name), name, {}, (), False, 4000, 8 * GIB, 0, 0, (), 0, True, True, "", 1.0)
    return replace(base, **{"labels": {"kubernetes.io/hostname": name}, **fields})


def needs(cpu=100, memory=GIB, **fields):
    return Requirements(cpu, memory, **fields)
