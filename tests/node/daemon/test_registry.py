"""What a machine holds is handed on whole, in parts that messages can carry."""

from beemesh_node.daemon.registry import MAX_PART, Holding
from beemesh_node.protocol.certificate import Certificate
from beemesh_node.protocol.messages import KeyedBlock
from beemesh_node.protocol.record import AttestedRecord, Record, RevisionRef

PRESENT = "cid-9"


def _holding(sizes: list[int], owner: Certificate | None = None) -> Holding:
    """A declaration whose revisions have blocks of these sizes, the present one last."""
    names = [f"cid-{9 - len(sizes) + number + 1}" for number in range(len(sizes))]
    revisions = tuple(RevisionRef(number, cid, b"", f"hash-{number}", 0) for number, cid in enumerate(names))
    name = ("default", "Deployment", "hello")
    record = Record(b"m" * 32, *name, "u", bytes(16), 1, 9, b"", False, PRESENT, b"", revisions, 0)
    blocks = {cid: KeyedBlock(cid, bytes(size), b"k") for cid, size in zip(names, sizes, strict=True)}
    assert PRESENT in blocks
    return Holding(AttestedRecord(record, owner, b"raw"), None, blocks)  # type: ignore[arg-type]


def test_small_revisions_travel_in_one_part_the_present_first_then_the_newest() -> None:
    (commit,) = _holding([1024, 2048, 4096]).commits()
    assert [block.cid for block in commit.blocks] == [PRESENT, "cid-8", "cid-7"]


def test_every_part_carries_the_present_block_and_fits_into_a_message() -> None:
    holding = _holding([1 << 20] * 5)
    parts = list(holding.commits())
    assert len(parts) > 1
    assert all(part.blocks[0].cid == PRESENT for part in parts)
    assert all(sum(len(block.block) for block in part.blocks) <= MAX_PART for part in parts)
    assert {block.cid for part in parts for block in part.blocks} == set(holding.blocks)
