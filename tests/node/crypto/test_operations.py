"""Post-quantum operations are counted, whoever provides them."""

from beemesh_node.crypto.operations import performed
from beemesh_node.crypto.provider import Provider


def test_every_operation_is_counted(provider: Provider) -> None:
    before = performed.copy()
    signer, reader = provider.generate_signing_key(), provider.generate_kem_key()
    signature = signer.sign(b"message", b"context")
    for message in (b"message", b"another"):
        provider.verify(signer.public_key, signature, message, b"context")
    assert reader.open(provider.seal(reader.public_key, b"text", b"info"), b"info") == b"text"
    assert performed - before == {"sign": 1, "verify": 2, "seal": 1, "open": 1}
