from dataclasses import replace

from beemesh_node.healing.config import Config
from beemesh_node.healing.core import Core
from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.events import Adopted, LocalChanged, MemberSeen
from beemesh_node.membership.closeness import guardians_of, key_of_name
from beemesh_node.membership.member import Member
from beemesh_node.protocol.ids import MachineId, Uid
from beemesh_node.protocol.messages import ClaimRef, Requirements
from beemesh_node.workloads.pod import PodIdentity, PodPhase, PodStatus

GIB = 1024**3
ME = MachineId("me")
WEB = Declaration(
    Uid("u"), "default", "Deployment", "web", 1, 1, False, b"1", revision="r1", requirements=Requirements(100, GIB)
)


def member(name, **fields):
    base = Member(MachineId(name), name, {}, (), False, 4000, 8 * GIB, 0, 0, (), 0, True, True, "", 1.0)
    return replace(base, **fields)


def core_of(*others, config=None, **fields):
    """A core that has started, knows the others, and has settled by second 10."""
    core = Core(ME, replace(config if config is not None else Config(), least_lifetime=1000.0))
    core.handle(LocalChanged(member("me", **fields), address="10.0.0.1"), 0)
    core.handle(Adopted(), 0)
    for other in others:
        core.handle(MemberSeen(member(other, period=1.0)), 0)
    return core


def of(effects, kind):
    return [effect for effect in effects if isinstance(effect, kind)]


def status(identity, *, ready=True, phase=PodPhase.RUNNING, **fields):
    return PodStatus(identity, phase, ready, **fields)


def identity_of(ref, pod_uid="pod-1"):
    return PodIdentity(
        "default", "Deployment", "web", ref.uid, ref.slot, ref.attempt, ref.sequence, ref.revision, "web-x", pod_uid
    )


def ref(slot=0, attempt=0, machine="me", revision="r1", uid="u"):
    return ClaimRef(uid, 1, slot, attempt, machine, revision)


def guarded_by(first, *others):
    """The declaration WEB under a name whose guardian of rank 0 is `first`."""
    members = [member(name) for name in (first, *others)]
    named = (replace(WEB, name=f"web{n or ''}") for n in range(1000))
    return next(web for web in named if guardians_of(key_of_name(*web.path), members, 1) == (first,))
