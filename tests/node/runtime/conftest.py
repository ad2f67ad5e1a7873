from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pluggy
import pytest

from beemesh_node.runtime import Runtime, RuntimeConfig, open_runtime
from tests.node.runtime.podman_service import INTERFACE, SUBNET, PodmanService, drop_service, make_service

_FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def podman() -> Iterator[PodmanService]:
    service = make_service()
    yield service
    drop_service(service)
    subprocess.run(["nft", "delete", "table", "inet", f"beemesh_{INTERFACE}"], check=True)


@pytest.fixture(autouse=True)
def cleared(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves that failed is removed, or later ones fail for it."""
    yield
    if request.node.stash.get(_FAILED, False) and "podman" in request.fixturenames:
        service: PodmanService = request.getfixturevalue("podman")
        service.clear()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """Note that a test failed, for those who tidy up after it."""
    outcome = yield
    if outcome.get_result().failed:
        item.stash[_FAILED] = True


@pytest.fixture
def memory_dir() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="bmrt-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def config(podman: PodmanService, tmp_path: Path, memory_dir: Path) -> RuntimeConfig:
    return RuntimeConfig(
        mesh=uuid.uuid4().hex,
        state_dir=tmp_path / "state",
        secret_dir=memory_dir,
        node_name="node-1",
        host_ip=lambda: "192.0.2.1",
        socket=podman.socket,
        name_prefix="bmrt-",
        network="bmrt-net",
        network_interface=INTERFACE,
        subnet=SUBNET,
    )


@pytest.fixture
async def runtime(config: RuntimeConfig) -> AsyncIterator[Runtime]:
    async with open_runtime(config) as runtime:
        yield runtime
        for status in await runtime.list():
            await runtime.remove(status.identity)
