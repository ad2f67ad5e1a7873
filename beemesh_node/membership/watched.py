"""One machine as its watcher hears it: how silent it is, and what follows from that. No I/O, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from beemesh_node.membership.detection import DetectionConfig
from beemesh_node.protocol.ids import MachineId

SILENT = "nothing is heard of it, by other watchers neither"
REFUSED = "it closed its connections and refuses new ones"


@dataclass(slots=True)
class Watched:
    """A machine under watch. Times are monotonic seconds; -inf for never."""

    machine: MachineId
    open: bool = False
    met: bool = False
    """Whether its beats were ever heard: who was never heard cannot fall silent."""
    failed: bool = False
    """Whether the stream was lost or could not be opened since it was last open."""
    heard_at: float = -math.inf
    vouched_at: float = -math.inf
    """When another watcher last heard it."""
    asked_at: float = -math.inf
    excused_at: float = -math.inf
    """When this machine last found that it was asleep itself."""
    closed_at: float = -math.inf
    redial_at: float = math.inf
    """When to look (again) whether anybody listens there."""
    refused: bool = False
    """Looked twice, at the beginning and the end of the time for a farewell: nobody listens."""
    accused_at: float = -math.inf
    """When this machine last held it dead; -inf if it does not."""

    @property
    def condemned(self) -> bool:
        """Whether this machine holds it dead."""
        return self.accused_at > -math.inf

    @property
    def suspected(self) -> bool:
        """Whether others were asked about it, and it was not heard since."""
        return self.asked_at > self.heard_at

    @property
    def evidence_at(self) -> float:
        """From when on its silence counts. Closing a stream is a sign of life too, the last perhaps."""
        return max(self.heard_at, self.vouched_at, self.closed_at, self.excused_at)

    def opened(self, now: float) -> None:
        """Its stream is there."""
        self.open, self.met, self.failed, self.refused = True, True, False, False
        self.redial_at = math.inf
        self.heard_at, self.accused_at = now, -math.inf

    def lost(self, now: float) -> bool:
        """Its stream is lost, or could not be opened. True if it was there: then it is to be redialled at once."""
        was_open, self.open, self.failed = self.open, False, True
        if was_open:
            self.closed_at = now
        return was_open

    def answered(self, refused: bool, config: DetectionConfig, now: float) -> None:
        """Take in whether somebody listens where it was."""
        if self.open:
            return
        self.refused = refused and now >= self.closed_at + config.closed
        self.redial_at = self.closed_at + config.closed if refused and not self.refused else math.inf

    def judge_anew(self, now: float) -> None:
        """Forget for how long it was silent: it was this machine that did not listen."""
        if self.met and not self.condemned:
            self.excused_at = now
            if not self.open and self.refused:
                self.closed_at, self.refused, self.redial_at = now, False, now

    def verdict(self, config: DetectionConfig, now: float) -> str | None:
        """Return why it is to be held dead; None if it is not."""
        if not self.met:
            return None
        if now >= self._refused_for_good(config):
            return REFUSED
        return SILENT if now >= self.evidence_at + config.dead else None

    def _refused_for_good(self, config: DetectionConfig) -> float:
        """Return from when on it is dead because nobody listens there: beats that still come say otherwise."""
        return self.heard_at + config.closed if self.refused and not self.open else math.inf

    def ask_due(self, config: DetectionConfig) -> float:
        """Return from when on others are to be asked about it."""
        if not self.met:
            return math.inf
        return max(self.evidence_at + config.suspect, self.asked_at + config.ask_again)

    def due(self, config: DetectionConfig) -> float:
        """Return when something is to be done about it."""
        if not self.met:
            return math.inf
        dead_at = min(self.evidence_at + config.dead, self._refused_for_good(config))
        judged = self.accused_at + config.repeat if self.condemned else dead_at
        return min(self.ask_due(config), self.redial_at, judged)
