"""Decision core: which machine runs which slot. No I/O, no clock."""
