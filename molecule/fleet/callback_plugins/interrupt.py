# Copyright (c) Beemesh contributors
# SPDX-License-Identifier: Apache-2.0
"""Presses Ctrl-C when the task begins whose number INTERRUPT_AT names."""

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Counts tasks."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "interrupt"

    def __init__(self) -> None:
        super().__init__()
        self._left = int(os.environ["INTERRUPT_AT"])

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A task begins."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)
