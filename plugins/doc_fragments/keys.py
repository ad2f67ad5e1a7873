# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules for keys have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragments."""

    DOCUMENTATION = r"""
requirements:
  - C(beectl) on the host on which the module runs; the role P(beemesh.mesh.node#role) brings it to machines.
options:
  beectl:
    description:
      - The C(beectl) to run. A name is looked for on the path and where the role P(beemesh.mesh.node#role) puts it.
    type: str
    default: beectl
  passphrase:
    description:
      - The passphrase of the key. It reaches C(beectl) through a pipe, never as an argument.
      - It has at most 1,024 bytes and no line break.
    type: str
notes:
  - Private keys are in no return value, no diff and no log.
"""
