"""Images: which are here, and fetching the others."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import trio

from beemesh_node.runtime.errors import PodmanRefusedError, RuntimeUnavailableError, StartError
from beemesh_node.runtime.podman_api import PodmanApi
from beemesh_node.runtime.podman_stream import open_stream
from beemesh_node.workloads.pod import Container, PullPolicy

PULL_TIMEOUT = 900.0
"""Seconds for a whole pull: a large image over a slow line."""
_MAX_PROGRESS_LINE = 64 * 1024

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,128})?"
)
_MAX_REFERENCE = 512


def check_reference(image: str) -> None:
    """Whether this can be an image at all (the grammar of distribution's `reference` package).

    Raises StartError (InvalidImageName).
    """
    if len(image) > _MAX_REFERENCE or not _REFERENCE.fullmatch(image):
        raise StartError(
            "InvalidImageName",
            f"image {image[:_MAX_REFERENCE]!r}: write [registry/]name[:tag][@digest]; the name must be lowercase",
        )


class Images:
    """The images of this machine's Podman."""

    def __init__(self, api: PodmanApi) -> None:
        self._api = api

    async def present(self) -> frozenset[str]:
        """Every name under which an image is here.

        Raises RuntimeUnavailableError.
        """
        found = await self._api.get("/images/json")
        return frozenset(name for image in found or () for name in image.get("Names") or ())

    async def user(self, image: str) -> str:
        """The USER an image asks to run as; empty for root.

        Raises PodmanRefusedError, RuntimeUnavailableError.
        """
        found = await self._api.get(f"/images/{quote(image, safe='')}/json")
        return str(found.get("User") or (found.get("Config") or {}).get("User") or "")

    async def program(self, image: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
        """What an image runs if nothing else is said: its ENTRYPOINT, its CMD and its STOPSIGNAL.

        Raises PodmanRefusedError, RuntimeUnavailableError.
        """
        config = (await self._api.get(f"/images/{quote(image, safe='')}/json")).get("Config") or {}
        entrypoint, arguments = (tuple(config.get(name) or ()) for name in ("Entrypoint", "Cmd"))
        return entrypoint, arguments, str(config.get("StopSignal") or "")

    async def ensure(self, container: Container) -> None:
        """Have a container's image here, whichever version.

        Raises StartError (ErrImageNeverPull, ErrImagePull), RuntimeUnavailableError.
        """
        if not await self._exists(container.image):
            await self.fetch(container)

    async def fetch(self, container: Container) -> None:
        """Pull a container's image, unless its policy forbids to.

        Raises StartError (ErrImageNeverPull, ErrImagePull), RuntimeUnavailableError.
        """
        image = container.image
        if container.pull_policy is PullPolicy.NEVER:
            raise StartError(
                "ErrImageNeverPull", f"image {image} is not on this machine and imagePullPolicy is Never: load it first"
            )
        try:
            with trio.fail_after(PULL_TIMEOUT):
                await self._pull(image)
        except PodmanRefusedError as error:
            raise StartError("ErrImagePull", f"image {image}: {error.message}") from error
        except trio.TooSlowError:
            raise StartError("ErrImagePull", f"image {image}: not here after {PULL_TIMEOUT:.0f} s of pulling") from None

    async def _exists(self, image: str) -> bool:
        try:
            await self._api.get(f"/images/{quote(image, safe='')}/exists")
        except PodmanRefusedError as error:
            if error.status == 404:
                return False
            raise StartError("ErrImagePull", f"image {image}: {error.message}") from error
        return True

    async def _pull(self, image: str) -> None:
        """Follow the progress to its end. Podman answers 200 and tells of a failure in the last line."""
        async with open_stream(self._api.socket, "POST", "/images/pull", {"reference": image}) as response:
            failed = ""
            async for line in response.lines(_MAX_PROGRESS_LINE):
                failed = _progress_error(self._api, line) or failed
        if failed:
            raise PodmanRefusedError(500, failed)


def _progress_error(api: PodmanApi, line: bytes) -> str:
    try:
        report: Any = json.loads(line) if line.strip() else {}
        return str(report.get("error") or "")
    except (ValueError, AttributeError, RecursionError) as error:
        raise RuntimeUnavailableError.at(api.socket, "what answers a pull is not Podman") from error
