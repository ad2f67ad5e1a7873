"""What schemas/generate.py writes from the FlatBuffers schemas."""
