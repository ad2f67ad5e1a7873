"""Post-quantum primitives, keys and their storage."""
