"""The commands of `beectl`, one file a group. Each imports what takes long only when it runs."""
