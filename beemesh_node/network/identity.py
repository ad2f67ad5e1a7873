"""Peer ids: the name under which libp2p knows an Ed25519 key.

A peer id is the identity multihash of the key's protobuf form, in base58 (libp2p specification, peer-ids.md). It is
computed here without libp2p, so that commands and certificates can name peers cheaply.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from beemesh_node.protocol.ids import PeerId

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PREFIX = bytes.fromhex("002408011220")  # identity multihash of 36 bytes; protobuf: type Ed25519, 32 bytes of data


def peer_id_of_public_key(public_key: bytes) -> PeerId:
    """The peer id of a raw 32-byte Ed25519 public key."""
    if len(public_key) != 32:
        raise ValueError(f"an Ed25519 public key has 32 bytes, not {len(public_key)}")
    number = int.from_bytes(_PREFIX + public_key, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    return PeerId("1" + "".join(reversed(digits)))  # the one leading zero byte is a "1" in base58


def peer_id_of_seed(seed: bytes) -> PeerId:
    """The peer id of the key with this 32-byte Ed25519 seed."""
    return peer_id_of_public_key(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def public_key_of_peer_id(peer: str) -> bytes:
    """The raw Ed25519 public key that a peer id names.

    Raises:
        ValueError: not the peer id of an Ed25519 key, or not in its canonical form.
    """
    number = 0
    if not 0 < len(peer) <= 64:
        raise ValueError("a peer id has 1 to 64 characters")
    for character in peer:
        digit = _ALPHABET.find(character)
        if digit < 0:
            raise ValueError(f"{peer!r} is not a peer id: {character!r} is not a base58 digit")
        number = number * 58 + digit
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(raw) != 37 or raw[:5] != _PREFIX[1:] or not peer.startswith("1") or peer[1:2] == "1":
        raise ValueError(f"{peer!r} is not the peer id of an Ed25519 key")
    return raw[5:]
