"""Decision core: what runs, what is missing, and who repairs it. No I/O, no clock."""
