"""beectl, the command line of a mesh: one file a command group."""
