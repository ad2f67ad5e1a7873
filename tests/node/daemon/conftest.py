from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.daemon.small_disk import Disk, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of its own for the state of a machine."""
    with small_disk(tmp_path / "disk") as disk:
        yield disk
