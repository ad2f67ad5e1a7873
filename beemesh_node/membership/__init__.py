"""Decision core: who is a member and who is close to a key. No I/O, no clock."""
