"""What can go wrong with bytes that arrived. None of it is ever the fault of the receiver."""


class ProtocolError(Exception):
    """Base of every error of this package."""


class MalformedError(ProtocolError):
    """The bytes are not what they claim to be."""


class OversizeError(ProtocolError):
    """More bytes than the kind of thing may have."""


class BadSignatureError(ProtocolError):
    """The signature is not the named signer's over these bytes: altered, or signed by somebody else."""


class ReplayedError(ProtocolError):
    """Seen before, or out of the order in which it must come."""


class TruncatedError(ProtocolError):
    """A stream ended before its sender said that it ends."""
