"""Known answers, and bytes spoiled on purpose."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "vectors"
CHECKOUT = Path(__file__).parents[3]


def vectors(name: str) -> list[dict[str, Any]]:
    """Load known answers, hexadecimal turned into bytes."""
    return [
        {key: bytes.fromhex(value) if isinstance(value, str) else value for key, value in case.items()}
        for case in json.loads((VECTORS / f"{name}.json").read_text())
    ]


def flip(data: bytes, bit: int) -> bytes:
    """Return `data` with one bit turned over; `bit` counts modulo their number."""
    position = bit % (8 * len(data))
    changed = bytearray(data)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a Python of its own."""
    return subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, check=False, capture_output=True, text=True)
