from __future__ import annotations

import pytest

from tests.node.protocol.mesh import Mesh


@pytest.fixture(scope="session")
def mesh() -> Mesh:
    return Mesh()
