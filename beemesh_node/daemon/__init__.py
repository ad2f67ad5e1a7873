"""beemeshd: configuration, wiring, supervision and the local socket."""
