"""Containers through Podman. Nothing else imports podman."""
