#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change how many replicas a workload of a mesh has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_workload_scale
short_description: Change how many replicas a workload of a mesh has
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Gives a Deployment or StatefulSet another number of replicas. This makes no new revision.
extends_documentation_fragment:
  - beemesh.mesh.connection
  - beemesh.mesh.connection.namespace
  - beemesh.mesh.connection.wait
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, and on which machines, without changing anything.
    support: full
  diff_mode:
    description: Shows the live manifest against the wanted one.
    support: full
options:
  kind:
    description: Kind of the workload.
    type: str
    choices: [Deployment, StatefulSet]
    default: Deployment
  name:
    description: Name of the workload.
    type: str
    required: true
  replicas:
    description: How many replicas there shall be.
    type: int
    required: true
  current_replicas:
    description: Only if there are as many now. Otherwise nothing is changed, and that is no failure.
    type: int
  resource_version:
    description: Only if this is its C(metadata.resourceVersion). Otherwise the task fails.
    type: str
seealso:
  - module: beemesh.mesh.beemesh_workload
"""

EXAMPLES = r"""
- name: Have three replicas, and wait until all are ready
  beemesh.mesh.beemesh_workload_scale:
    name: web
    replicas: 3
    wait: true

- name: Go back to two, but only from three
  beemesh.mesh.beemesh_workload_scale:
    name: web
    replicas: 2
    current_replicas: 3
"""

RETURN = r"""
result:
  description: The workload as it is declared now, or would be.
  returned: success
  type: dict
placement:
  description:
    - Where each replica is, or in check mode would be, as RV(beemesh.mesh.beemesh_workload#module:placement).
  returned: success
  type: list
  elements: dict
replicas_ready:
  description: How many replicas are ready.
  returned: success
  type: int
diff:
  description: The live against the wanted manifest, as C(prepared).
  returned: success
  type: dict
duration:
  description: Seconds that changing and waiting took.
  returned: always
  type: float
"""

import json
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import (
    CONNECTION,
    EXCLUSIVE,
    NAMESPACE,
    Beectl,
    BeectlError,
    seconds,
)
from ansible_collections.beemesh.mesh.plugins.module_utils.conditions import WAIT, check_standing

OPTIONS: dict[str, t.Any] = {
    "kind": {"type": "str", "choices": ["Deployment", "StatefulSet"], "default": "Deployment"},
    "name": {"type": "str", "required": True},
    "replicas": {"type": "int", "required": True},
    "current_replicas": {"type": "int"},
    "resource_version": {"type": "str"},
}


def scale(module: AnsibleModule) -> dict[str, t.Any]:
    """Do it; return what there is now. Raises `BeectlError`."""
    params, beectl = module.params, Beectl(module)
    namespace, kind = params["namespace"], params["kind"].lower()
    if params["current_replicas"] is not None:
        found = beectl.get(kind, params["name"], namespace=namespace)
        now = found[0]["spec"]["replicas"] if found else None
        if found and now not in (params["current_replicas"], params["replicas"]):
            counted = found[0].get("status", {}).get("readyReplicas", 0)
            return answer({"changed": False, "object": found[0], "readyReplicas": counted})
    patch: dict[str, t.Any] = {"spec": {"replicas": params["replicas"]}}
    if params["resource_version"]:
        patch["metadata"] = {"resourceVersion": params["resource_version"]}
    words = ["-n", namespace] if namespace else []
    words += ["patch", f"{kind}/{params['name']}", "--type", "merge", "--patch-file", "-"]
    if module.check_mode:
        words.append("--dry-run=server")
    elif params["wait"]:
        words += ["--wait", "--timeout", seconds(params["wait_timeout"])]
    facts = beectl.json(*words, stdin=json.dumps(patch), waiting=params["wait_timeout"])
    check_standing(facts["results"][0])
    return answer(facts["results"][0])


def answer(told: dict[str, t.Any]) -> dict[str, t.Any]:
    """What beectl told, in the words of the module."""
    placement = told.get("placement", [])
    staying = sum(not each["predicted"] for each in placement)
    return {
        "changed": told["changed"],
        "result": told.get("object", {}),
        "placement": placement,
        "replicas_ready": told.get("readyReplicas", staying),
        "diff": {"prepared": told.get("diff", "")},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**OPTIONS, **CONNECTION, **NAMESPACE, **WAIT},
        mutually_exclusive=EXCLUSIVE,
        supports_check_mode=True,
    )
    began = time.monotonic()
    if module.params["replicas"] < 0:
        module.fail_json(msg="replicas: there cannot be fewer than 0", reason="invalid", rc=None)
    try:
        found = scale(module)
    except BeectlError as error:
        told = error.facts.get("results", [])
        found = answer(told[0]) if told else {"changed": False}
        module.fail_json(**{**found, **error.told}, duration=round(time.monotonic() - began, 3))
    module.exit_json(**found, duration=round(time.monotonic() - began, 3))


if __name__ == "__main__":
    main()
