"""What is there before the rotation is written down, to be compared."""

import json
from pathlib import Path
from typing import Any


def test_what_is_there_is_noted(notes: Path, found: dict[str, Any]) -> None:
    notes.write_text(json.dumps(found))
