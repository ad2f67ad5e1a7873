"""How many post-quantum operations this process has done: they are most of what a message costs."""

from collections import Counter
from typing import Final

performed: Final[Counter[str]] = Counter(sign=0, verify=0, seal=0, open=0)
"""By operation, also those that failed. One that another thread counts at the same instant may be missed."""
