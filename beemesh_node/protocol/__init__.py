"""Envelope, signed objects and messages, and the generated FlatBuffers beneath them."""
