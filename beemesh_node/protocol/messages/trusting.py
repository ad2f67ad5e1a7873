"""Who is believed changes while the mesh runs: everybody hands on what roots and operators have signed about it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TrustNews:
    """Shows what the sender believes in, and asks for what it lacks. Everything in it proves itself."""

    digest: bytes
    """`TrustStore.digest` of the sender: who has another one shows in the answer what it has."""
    bundles: tuple[bytes, ...]
    """Trust bundles in their order, from the second on."""
    lists: tuple[bytes, ...]
    """Signed revocation lists."""
    secrets: tuple[bytes, ...] = field(repr=False)
    """Secrets of the epochs that the lists name, as far as the sender has them."""


@dataclass(frozen=True, slots=True)
class TrustReply:
    """What the receiver believes in now. Bundles and lists are empty if the digests were the same."""

    digest: bytes
    number: int
    """Of the present epoch."""
    bundles: tuple[bytes, ...]
    lists: tuple[bytes, ...]
    secrets: tuple[bytes, ...] = field(repr=False)
    """Empty for operators, who read nothing that is for all members."""
    refused: str = ""
    """Why nothing, or not all of it, was taken."""


@dataclass(frozen=True, slots=True)
class CertificateRenewal:
    """Brings a machine a new certificate for the keys that it has."""

    certificate: bytes
