"""The text form of a key file: headers, then the secret in base64, encrypted when a passphrase guards it.

    -----BEGIN BEEMESH KEY-----
    Version: 1
    Kind: mesh-root
    Fingerprint: <SHA-256 of the public halves, hex>
    Encryption: argon2id m=65536 t=3 p=1 salt=<hex>

    <base64 of the secret, or of nonce ‖ AES-256-GCM ciphertext ‖ tag>
    -----END BEEMESH KEY-----

The headers are authenticated with the secret (GCM's additional data). PKCS#8 is not used: its encryption rests on
PBKDF2 with 2048 rounds, too little for a key that can be guessed at offline.
"""

import base64
import binascii
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from beemesh_node.crypto import aead
from beemesh_node.crypto.errors import AuthenticationError, DecryptionError, KeyStoreError, MalformedKeyFileError

MAX_FILE_SIZE: Final = 4096
MAX_PASSPHRASE_SIZE: Final = 1024
_SALT_SIZE: Final = 16


class KeyKind(StrEnum):
    """What a key file holds."""

    MESH_ROOT = "mesh-root"
    OPERATOR = "operator"
    MACHINE = "machine"
    KEM = "kem-subkey"


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """Work of one Argon2id guess (RFC 9106): memory in KiB, passes over it, lanes.

    A file that asks for more than the upper bounds is refused before any work is done.
    """

    memory: int = 65536
    passes: int = 3
    lanes: int = 1

    def allowed(self) -> bool:
        """Tell whether the cost lies within 8 to 256 MiB, 1 to 10 passes and 1 to 4 lanes."""
        return 8192 <= self.memory <= 262144 and 1 <= self.passes <= 10 and 1 <= self.lanes <= 4


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key file taken apart, its secret still as it was stored."""

    kind: KeyKind
    fingerprint: bytes
    cost: Argon2Cost | None
    """None when no passphrase guards it."""
    salt: bytes
    body: bytes = field(repr=False)

    def _headers(self) -> bytes:
        guard = "none"
        if self.cost is not None:
            guard = f"argon2id m={self.cost.memory} t={self.cost.passes} p={self.cost.lanes} salt={self.salt.hex()}"
        return (f"Version: 1\nKind: {self.kind}\nFingerprint: {self.fingerprint.hex()}\nEncryption: {guard}\n").encode()

    @classmethod
    def lock(
        cls, kind: KeyKind, fingerprint: bytes, secret: bytes, passphrase: str | None, cost: Argon2Cost
    ) -> "KeyFile":
        """Put `secret` into a key file, encrypted when a passphrase is given.

        Raises:
            KeyStoreError: the passphrase is empty or longer than `MAX_PASSPHRASE_SIZE`.
        """
        if passphrase is None:
            return cls(kind, fingerprint, None, b"", secret)
        opened = cls(kind, fingerprint, cost, secrets.token_bytes(_SALT_SIZE), b"")
        nonce = secrets.token_bytes(aead.NONCE_SIZE)
        body = nonce + aead.encrypt(_stretch(passphrase, cost, opened.salt), nonce, secret, opened._headers())
        return cls(kind, fingerprint, cost, opened.salt, body)

    def unlock(self, passphrase: str | None) -> bytes:
        """Return the secret. A passphrase that is not needed is not used.

        Raises:
            AuthenticationError: a passphrase is needed and is missing or wrong.
        """
        if self.cost is None:
            return self.body
        if passphrase is None:
            raise AuthenticationError(f"this {self.kind} key is encrypted: give its passphrase")
        nonce, ciphertext = self.body[: aead.NONCE_SIZE], self.body[aead.NONCE_SIZE :]
        try:
            return aead.decrypt(_stretch(passphrase, self.cost, self.salt), nonce, ciphertext, self._headers())
        except DecryptionError:
            raise AuthenticationError(f"wrong passphrase for this {self.kind} key (or its file was altered)") from None

    def dump(self) -> bytes:
        """Return the text to store."""
        body = base64.encodebytes(self.body)
        return b"-----BEGIN BEEMESH KEY-----\n" + self._headers() + b"\n" + body + b"-----END BEEMESH KEY-----\n"

    @classmethod
    def parse(cls, text: bytes) -> "KeyFile":
        """Take a stored text apart; exactly what `dump` writes is accepted.

        Raises:
            MalformedKeyFileError: it is anything else, or asks for more Argon2 work than `Argon2Cost` allows.
        """
        match = _FORMAT.fullmatch(text)
        if match is None:
            raise MalformedKeyFileError("not a Beemesh key file of version 1, or damaged: restore it from a backup")
        cost = None
        if match["memory"]:
            cost = Argon2Cost(int(match["memory"]), int(match["passes"]), int(match["lanes"]))
            if not cost.allowed():
                raise MalformedKeyFileError(f"the file asks for {cost}, more or less than a key file may")
        kind, fingerprint = KeyKind(match["kind"].decode()), bytes.fromhex(match["fingerprint"].decode())
        salt = bytes.fromhex((match["salt"] or b"").decode())
        try:
            file = cls(kind, fingerprint, cost, salt, base64.b64decode(match["body"]))
        except binascii.Error:
            file = None
        if file is None or file.dump() != text or (cost and len(file.body) < aead.NONCE_SIZE + aead.TAG_SIZE):
            raise MalformedKeyFileError("the key file was altered or cut short: restore it from a backup")
        return file


_FORMAT: Final = re.compile(
    rb"-----BEGIN BEEMESH KEY-----\n"
    rb"Version: 1\n"
    rb"Kind: (?P<kind>" + b"|".join(kind.value.encode() for kind in KeyKind) + rb")\n"
    rb"Fingerprint: (?P<fingerprint>[0-9a-f]{64})\n"
    rb"Encryption: (?:none|argon2id m=(?P<memory>[0-9]{1,9}) t=(?P<passes>[0-9]{1,9}) p=(?P<lanes>[0-9]{1,9})"
    rb" salt=(?P<salt>[0-9a-f]{32}))\n"
    rb"\n"
    rb"(?P<body>[A-Za-z0-9+/=\n]+\n)"
    rb"-----END BEEMESH KEY-----\n"
)


def _stretch(passphrase: str, cost: Argon2Cost, salt: bytes) -> bytes:
    """Turn a passphrase into an AES key. NFC, because macOS and Linux type the same accent in different bytes."""
    material = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    if not 0 < len(material) <= MAX_PASSPHRASE_SIZE:
        raise KeyStoreError(f"a passphrase has 1 to {MAX_PASSPHRASE_SIZE} bytes; give another, or none at all")
    kdf = Argon2id(salt=salt, length=aead.KEY_SIZE, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory)
    try:
        return kdf.derive(material)
    except MemoryError:
        raise KeyStoreError(f"a passphrase needs {cost.memory // 1024} MiB of memory for a moment: free some") from None
