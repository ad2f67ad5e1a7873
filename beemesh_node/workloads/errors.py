"""What is wrong with a manifest, in words that name the place and the next step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

MAX_ISSUES = 50
"""Problems listed in one error; the rest is only counted."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem. `path` is the place in the manifest as kubectl writes it; parts that are unknown are empty."""

    message: str
    path: str = ""
    subject: str = ""
    """The object, `Deployment default/hello`."""
    source: str = ""
    """Where the object came from: `hello.yml: document 2`."""

    def __str__(self) -> str:
        text = ": ".join(part for part in (self.source, self.subject, self.path, self.message) if part)
        # What a manifest holds must not steer the terminal or the log that shows the message.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class ManifestError(ValueError):
    """A manifest that cannot be taken. Its text has one line for each issue; `issues` has them as data."""

    def __init__(self, issues: tuple[Issue, ...], left_out: int = 0) -> None:
        self.issues = issues
        lines = [str(issue) for issue in issues]
        if left_out:
            lines.append(f"and {left_out} more problems")
        super().__init__("\n".join(lines))


class Problems:
    """Collects issues, so that all of them can be reported together. Copies of it share one list."""

    def __init__(self, source: str = "", subject: str = "", found: list[Issue] | None = None) -> None:
        self.source, self.subject = source, subject
        self._found: list[Issue] = [] if found is None else found

    def within(self, source: str, subject: str = "") -> Problems:
        """The same list, for problems of another object."""
        return Problems(source, subject, self._found)

    def add(self, path: str, message: str) -> None:
        """Note a problem at `path`."""
        self._found.append(Issue(message, path, self.subject, self.source))

    def merge(self, error: ManifestError) -> None:
        """Note what another step found, with this object where it named none."""
        for issue in error.issues:
            self._found.append(
                replace(issue, source=issue.source or self.source, subject=issue.subject or self.subject)
            )

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Note a `ValueError` raised inside as a problem at `path`, and go on."""
        try:
            yield
        except ValueError as error:
            self.add(path, str(error))

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raise `ManifestError` with everything found so far."""
        if self._found:
            raise ManifestError(tuple(self._found[:MAX_ISSUES]), max(0, len(self._found) - MAX_ISSUES))


def child(path: str, key: str) -> str:
    """The path of a field: `spec.replicas`, or `metadata.labels[example.com/a]` where a dot would mislead."""
    if not key or any(character in key for character in "./[] :"):
        return f"{path}[{key[:80]}]"
    return f"{path}.{key[:80]}" if path else key[:80]
