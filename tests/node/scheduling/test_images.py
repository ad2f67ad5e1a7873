"""Images are found by the names that people write, and a machine that lacks one that is never pulled says so."""

import pytest

from beemesh_node.scheduling.images import is_here, surely_missing

NAMES = frozenset({"localhost/hello:latest", "docker.io/library/nginx:1.27", "registry.example:5000/team/app:v2"})


@pytest.mark.parametrize(
    "image",
    [
        "localhost/hello",
        "localhost/hello:latest",
        "hello",
        "nginx:1.27",
        "library/nginx:1.27",
        "docker.io/library/nginx:1.27",
        "registry.example:5000/team/app:v2",
    ],
)
def test_a_name_that_podman_would_resolve_is_here(image: str) -> None:
    assert is_here(image, NAMES)
    assert not surely_missing(image, NAMES)


@pytest.mark.parametrize("image", ["nginx", "nginx:1.26", "ello", "registry.example:5000/team/app", "other/hello"])
def test_another_name_or_tag_is_missing(image: str) -> None:
    assert not is_here(image, NAMES)
    assert surely_missing(image, NAMES)


def test_a_digest_may_be_here_under_another_name() -> None:
    assert not surely_missing("localhost/hello@sha256:" + "0" * 64, NAMES)
