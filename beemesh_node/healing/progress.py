"""Whether a rollout gets on, as Kubernetes' progressDeadlineSeconds means it."""

from __future__ import annotations

from dataclasses import dataclass

from beemesh_node.healing.declaration import Declaration
from beemesh_node.healing.plan import Plan


@dataclass
class Progress:
    """How far one version of a declaration has come. Times are monotonic seconds."""

    since: float
    """When it last came further."""
    finished: bool = False
    """It was once as declared; what happens to it later is healing, not a rollout."""
    failed: bool = False
    """It came no further for longer than its deadline. It comes out of this by getting further."""
    _best: tuple[int, int, int] = (-1, -1, 0)

    def observe(self, declaration: Declaration, plan: Plan, now: float) -> None:
        """Take in how far the declaration is now."""
        if self.finished:
            return
        if plan.complete and plan.available >= declaration.replicas:
            self.since, self.finished, self.failed = now, True, False
            return
        mark = (plan.available, plan.updated, -plan.outdated)
        if self._best == (-1, -1, 0):
            self._best = mark
        elif any(one > other for one, other in zip(mark, self._best, strict=True)):
            available, updated, outdated = (max(pair) for pair in zip(mark, self._best, strict=True))
            self._best = (available, updated, outdated)
            self.since, self.failed = now, False
        if now >= self.since + declaration.progress_deadline_seconds:
            self.failed = True

    def deadline(self, declaration: Declaration) -> float | None:
        """Return when it will have failed if it comes no further; None if it cannot fail (any more)."""
        if self.finished or self.failed:
            return None
        return self.since + declaration.progress_deadline_seconds
