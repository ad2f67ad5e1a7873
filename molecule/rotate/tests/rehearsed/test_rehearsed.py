"""After `--check`: everything is as it was."""

import json
from pathlib import Path
from typing import Any


def test_nothing_is_changed(notes: Path, found: dict[str, Any]) -> None:
    assert found == json.loads(notes.read_text())
