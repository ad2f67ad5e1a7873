# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules for keys have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragments."""

    DOCUMENTATION = r"""
requirements:
  - C(beectl) 0.1.0 or newer on the host on which the module runs; the role P(beemesh.mesh.node#role) brings it to
    machines.
options:
  beectl:
    description:
      - The C(beectl) to run, by path or by name. A name is looked for on the path, beside the Python that runs the
        module, and where the role P(beemesh.mesh.node#role) puts it.
      - If it is not given, the environment variable E(BEEMESH_BEECTL) is used.
    type: str
    default: beectl
  passphrase:
    description:
      - The passphrase of the key. It reaches C(beectl) through a pipe, never as an argument or by way of a disk.
      - It has at most 1,024 bytes and no line break.
    type: str
  passphrase_file:
    description:
      - File whose first line is the passphrase of the key, on the host on which the module runs. Mutually exclusive
        with O(passphrase).
    type: path
  timeout:
    description:
      - Seconds that one call of C(beectl) may take.
      - If it is not given, the environment variable E(BEEMESH_TIMEOUT) is used.
    type: int
    default: 60
notes:
  - Private keys are in no return value, no diff and no log.
  - A failed task returns RV(ignore:reason), one of V(missing_beectl), V(failed), V(invalid), V(not_allowed) and
    V(timeout).
"""
