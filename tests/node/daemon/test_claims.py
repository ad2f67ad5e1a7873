"""What a former daemon wrote about its claims is taken up as far as it is understood."""

import msgspec

from beemesh_node.daemon.node import read_claims
from beemesh_node.healing.effects import HeldClaim
from beemesh_node.protocol.messages import ClaimRef, Requirements
from beemesh_node.workloads.pod import PodIdentity

IDENTITY = PodIdentity("default", "Deployment", "web", "uid-1", 0, 1, 1, "r1", "web-0", "pod-1")
HELD = HeldClaim(ClaimRef("uid-1", 1, 0, 1, "m" * 32, "r1"), IDENTITY, Requirements(100, 1 << 20), {"a": "b"}, 5)


def test_a_claim_that_is_not_understood_does_not_keep_the_others_from_being_read() -> None:
    good = msgspec.json.encode(HELD)
    lacking = msgspec.json.decode(good)
    del lacking["identity"]["revision"]
    rows = [("bad-1", b"{"), ("bad-2", msgspec.json.encode(lacking)), ("bad-3", b'"\xff"'), ("pod-1", good)]
    assert list(read_claims(rows)) == [HELD]
