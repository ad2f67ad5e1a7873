"""The one way in and out: every message is encrypted for those who may read it, then signed, whole.

    message = header (149 bytes, see `header`) ‖ ciphertext (see `encryption`) ‖ signature (see `batch`)

Nothing here does I/O or looks at a clock: times are given, in ms of mesh time.
"""

from beemesh_node.protocol.batch import Unsigned
from beemesh_node.protocol.counters import Refusal, RefusalCounters, Refused, UnknownSender
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.fetchlimit import FetchLimiter
from beemesh_node.protocol.header import HEADER_SIZE, AudienceKind, Header
from beemesh_node.protocol.opener import Directory, Opened, Opener, OwnKeys, SenderCertificate
from beemesh_node.protocol.policy import BROADCAST_PAYLOADS, MAX_MESSAGE
from beemesh_node.protocol.sealer import Recipient, Sealer

__all__ = [
    "BROADCAST_PAYLOADS",
    "HEADER_SIZE",
    "MAX_MESSAGE",
    "AudienceKind",
    "Directory",
    "FetchLimiter",
    "Header",
    "Opened",
    "Opener",
    "OwnKeys",
    "Recipient",
    "Refusal",
    "RefusalCounters",
    "Refused",
    "Sealer",
    "SenderCertificate",
    "UnknownSender",
    "Unsigned",
    "epoch_id",
]
