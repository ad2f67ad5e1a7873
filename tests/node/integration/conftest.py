from __future__ import annotations

import signal
from collections.abc import Generator, Iterator

import pluggy
import pytest

from tests.node.integration.grove import Grove, grove
from tests.node.integration.machine import Machine
from tests.node.integration.mesh import Mesh, Operator
from tests.node.integration.segment import Segment
from tests.node.integration.shared import SharedMesh, shared_mesh

_LOG_SHOWN = 6000
_FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def segment() -> Iterator[Segment]:
    # Who ends a run early with SIGTERM, as `timeout` does, wants it tidied up all the same.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Segment() as segment:
        yield segment
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def mesh(segment: Segment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedMesh]:
    """Two honest machines and one that tampers, if told to, with what it relays."""
    with shared_mesh(tmp_path_factory.mktemp("mesh"), segment) as mesh:
        yield mesh


@pytest.fixture(scope="session", name="grove")
def grove_fixture(segment: Segment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grove]:
    """Three honest machines for workloads."""
    with grove(tmp_path_factory.mktemp("grove"), segment) as mesh:
        yield mesh


@pytest.fixture
def admin(mesh: SharedMesh) -> Operator:
    """May do everything; enters by an honest machine."""
    return mesh.admin.enter_by(mesh.alpha)


@pytest.fixture(autouse=True)
def cleared(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves that failed is deleted, or the next one in the same mesh fails for it."""
    yield
    if request.node.stash.get(_FAILED, False):
        for mesh in _meshes(request.node):
            mesh.clear()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """Show what the daemons logged when a test fails."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.stash[_FAILED] = True
        for machine in _machines(item):
            report.sections.append((f"beemeshd of {machine.name}", machine.log[-_LOG_SHOWN:]))


def _machines(item: pytest.Item) -> list[Machine]:
    return [machine for mesh in _meshes(item) for machine in mesh.machines]


def _meshes(item: pytest.Item) -> list[Mesh]:
    return [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Mesh)]
