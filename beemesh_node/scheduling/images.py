"""Whether an image is on a machine, as far as its names tell (containers/image short names, distribution's grammar)."""

from __future__ import annotations

from collections.abc import Collection


def is_here(image: str, names: Collection[str]) -> bool:
    """Whether a reference names one of the images whose full names, with registry and tag, are given.

    A name without a tag means `latest`; one without a registry is looked for under every registry, as Podman does.
    """
    tagged = image if ":" in image.rpartition("/")[2] else f"{image}:latest"
    return tagged in names or any(name.endswith(f"/{tagged}") for name in names)


def surely_missing(image: str, names: Collection[str]) -> bool:
    """Whether the image cannot be here. One that is named by digest may be, under a name that does not show it."""
    return "@" not in image and not is_here(image, names)
