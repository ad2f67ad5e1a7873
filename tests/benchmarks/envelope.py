"""What messages cost: sizes, and processor time on this machine (so that what else runs on it matters little).

python -m tests.benchmarks.envelope
"""

import statistics
import time
from collections.abc import Callable

from beemesh_node.protocol.block import open_block, seal_block
from beemesh_node.protocol.codec import decode, encode
from beemesh_node.protocol.frames import FrameOpener, FrameSealer, frame_key
from beemesh_node.protocol.messages import BlockRequest
from beemesh_node.protocol.objects import open_object, sign_object
from tests.node.protocol.support import EPOCH, NOW, Receiver, peer, presence

ROUNDS = 200


def measure(what: str, action: Callable[[], object], rounds: int = ROUNDS) -> None:
    """Print median and 95th percentile in ms of processor time."""
    action()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        action()
        times.append((time.process_time() - start) * 1000)
    print(f"{what:44} {statistics.median(times):8.3f} {statistics.quantiles(times, n=20)[-1]:8.3f}")


def main() -> None:
    """Print the tables."""
    receiver, friend = Receiver(), peer("friend")
    sealer, receive = friend.sealer, receiver.open
    direct_payload, presence_payload = BlockRequest("b" * 59), presence("ready")
    direct = sealer.direct(direct_payload, receiver.recipient, NOW)
    broadcast = sealer.broadcast(presence_payload, EPOCH, NOW)
    batch = [sealer.direct(direct_payload, receiver.recipient, NOW) for _ in range(50)]

    plain = len(encode(direct_payload))
    print("bytes more than the payload's own FlatBuffers")
    print(f"{'direct':44} {len(sealer.sign(direct)) - plain:8}")
    print(f"{'direct, in a batch of 50':44} {len(sealer.sign_batch(batch)[0]) - plain:8}")
    print(f"{'broadcast':44} {len(sealer.sign(broadcast)) - len(encode(presence_payload)):8}")
    print(f"{'object':44} {len(sign_object('record', b'', friend.identity.signing)):8}")

    print(f"\n{'ms of processor time':44} {'median':>8} {'p95':>8}")
    measure("encrypt direct", lambda: sealer.direct(direct_payload, receiver.recipient, NOW))
    measure("encrypt broadcast", lambda: sealer.broadcast(presence_payload, EPOCH, NOW))
    measure("sign one", lambda: sealer.sign(direct))
    measure("sign 50 one by one", lambda: [sealer.sign(message) for message in batch], ROUNDS // 10)
    measure("sign 50 together", lambda: sealer.sign_batch(batch))

    ready = iter([sealer.sign(sealer.direct(direct_payload, receiver.recipient, NOW)) for _ in range(ROUNDS + 1)])
    measure("open direct", lambda: receive(next(ready)))
    told = iter([sealer.sign(sealer.broadcast(presence_payload, EPOCH, NOW)) for _ in range(ROUNDS + 1)])
    measure("open broadcast", lambda: receive(next(told)))
    together = [sealer.direct(direct_payload, receiver.recipient, NOW) for _ in range(ROUNDS + 1)]
    signed = iter(sealer.sign_batch(together))
    measure("open direct of a batch", lambda: receive(next(signed)))

    encoded = encode(presence_payload)
    measure("encode Presence", lambda: encode(presence_payload))
    measure("decode Presence", lambda: decode(type(presence_payload), encoded))
    record = sign_object("record", bytes(1000), friend.identity.signing)
    measure("open object", lambda: open_object("record", record, friend.certificate.public_key, 10_000))

    key = frame_key(b"s" * 32, b"benchmark", b"")
    frames, opener = FrameSealer(key), FrameOpener(key)
    measure("session frame of 100 bytes, there and back", lambda: opener.open(frames.seal(bytes(100))))
    block = seal_block(bytes(3000))
    measure("seal block of 4 KiB", lambda: seal_block(bytes(3000)))
    measure("open block of 4 KiB", lambda: open_block(block.cid, block.block, block.content_key, block.key_commitment))


if __name__ == "__main__":
    main()
