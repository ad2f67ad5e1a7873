# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that talk to a mesh have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragments."""

    DOCUMENTATION = r"""
requirements:
  - C(beectl) 0.1.0 or newer on the host on which the module runs, often the controller itself; see O(beectl).
options:
  beectl:
    description:
      - The C(beectl) to run, by path or by name. A name is looked for on the path, beside the Python that runs the
        module, and where the role P(beemesh.mesh.node#role) puts it.
      - If it is not given, the environment variable E(BEEMESH_BEECTL) is used.
    type: str
    default: beectl
  dir:
    description:
      - Directory of the context, which holds keys, certificate and addresses.
      - If it is not given, the environment variable E(BEEMESH_DIR) is used, and then the context that C(beectl)
        itself chooses.
    type: path
  context:
    description:
      - Name of the context. Mutually exclusive with O(dir).
      - If it is not given, the environment variable E(BEEMESH_CONTEXT) is used.
    type: str
  passphrase:
    description:
      - Passphrase of the operator's key, from a vault for example. It reaches C(beectl) through a pipe, never as an
        argument or by way of a disk.
    type: str
  passphrase_file:
    description:
      - File whose first line is the passphrase of the operator's key, on the host on which the module runs. Mutually
        exclusive with O(passphrase).
      - If it is not given, the environment variable E(BEEMESH_PASSPHRASE_FILE) is used.
    type: path
  timeout:
    description:
      - Seconds that one call of C(beectl) may take, besides what it is told to wait for.
      - If it is not given, the environment variable E(BEEMESH_TIMEOUT) is used.
    type: int
    default: 60
notes:
  - The modules of the action group C(beemesh.mesh.beemesh) share these options by C(module_defaults); see the
    examples of M(beemesh.mesh.beemesh_workload).
  - A failed task returns RV(ignore:reason), one of V(missing_beectl), V(failed), V(invalid), V(not_allowed) and
    V(timeout), and the exit code of C(beectl) as RV(ignore:rc).
"""

    NAMESPACE = r"""
options:
  namespace:
    description:
      - Namespace of what names none.
      - If it is not given, the environment variable E(BEEMESH_NAMESPACE) is used, and then the one of the context.
    type: str
"""

    WAIT = r"""
options:
  wait:
    description: Whether to wait until it is as wanted. What is not, or not in time, is a failure of the task.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait.
    type: int
    default: 120
"""

    WAIT_CONDITION = r"""
options:
  wait_sleep:
    description: Seconds between two looks while waiting for a condition.
    type: int
    default: 5
  wait_condition:
    description: A condition in the status of the object to wait for.
    type: dict
    suboptions:
      type:
        description:
          - Its type, V(Available) or V(Progressing) of a Deployment for example, V(Ready) of a Pod or a machine.
        type: str
        required: true
      status:
        description: Its status.
        type: str
        choices: ['True', 'False', 'Unknown']
        default: 'True'
      reason:
        description: Its reason, V(NewReplicaSetAvailable) for example.
        type: str
"""
