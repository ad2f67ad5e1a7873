#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare, change and delete workloads of a mesh."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_workload
short_description: Declare, change and delete workloads of a mesh
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Makes the mesh run what Kubernetes manifests declare. Taken are Deployments, StatefulSets and Pods, with the
    ConfigMaps and Secrets that they use, which go with them in the same task.
  - Manifests are given in the task, in a file, or as a template; files and templates are read, decrypted and
    rendered on the controller.
  - A manifest that is live already changes nothing. A workload that has not started, or does not run any more as
    declared, fails the task, also when its manifest is unchanged; see O(wait).
  - In check mode the mesh is asked where the replicas would run; nothing is stored and nothing is reserved.
extends_documentation_fragment:
  - beemesh.mesh.connection
  - beemesh.mesh.connection.namespace
  - beemesh.mesh.connection.wait_condition
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, and on which machines, without changing anything.
    support: full
  diff_mode:
    description: Shows the live manifest against the wanted one. Values of Secrets are masked.
    support: full
options:
  wait:
    description:
      - Whether to wait until every replica runs as declared, or with O(state=absent) until none runs any more. What is
        not so in time is a failure of the task. The default is V(true), and V(false) with O(state=absent).
      - With V(false) a new or changed declaration is C(changed) whatever becomes of it. One that is unchanged fails the
        task if it stands as failed, when its rollout passed C(progressDeadlineSeconds) for example, when a container
        ends again and again (C(CrashLoopBackOff)), or when its image cannot be had.
      - With O(wait_condition) only that is waited for, and replicas that are still missing then are no failure. What
        stands as failed is one all the same, unless O(wait_condition.status) is not V(True), which may mean a failure.
    type: bool
  wait_timeout:
    description: Seconds to wait.
    type: int
    default: 120
  state:
    description:
      - V(present) declares what the definition says.
      - V(patched) changes the fields that the definition names in what is declared, see O(merge_type). What is not
        declared is left out with a warning.
      - V(absent) deletes, and what is not there is fine.
    type: str
    choices: [present, absent, patched]
    default: present
  resource_definition:
    description:
      - One manifest or a list of them, as a mapping or as YAML text with one or several documents.
      - Mutually exclusive with O(src) and O(template).
    type: raw
    aliases: [definition, inline]
  src:
    description:
      - A file with manifests, or a directory whose files ending in V(.yml), V(.yaml) and V(.json) hold some. It is
        looked for on the controller as M(ansible.builtin.copy) does, and decrypted if it is a vault.
    type: path
  template:
    description:
      - A template of manifests, or a list of them, looked for and rendered on the controller as
        M(ansible.builtin.template) does.
      - Either a path or a mapping with C(path) and any of C(newline_sequence), C(variable_start_string),
        C(variable_end_string), C(block_start_string), C(block_end_string), C(comment_start_string),
        C(comment_end_string), C(trim_blocks) and C(lstrip_blocks), which mean what they mean there.
    type: raw
  kind:
    description: Kind of what is deleted or found by O(name) or O(label_selectors), and of a manifest that names none.
    type: str
    choices: [Deployment, StatefulSet, Pod]
  name:
    description: Name of what is deleted, and of the workload in a definition that names none.
    type: str
  label_selectors:
    description:
      - Only the documents of the definition whose labels fulfil all of these are looked at, with the ConfigMaps and
        Secrets that they use.
      - With O(state=absent) and no definition, every workload of the O(kind) and namespace that fulfils them is
        deleted.
      - V(app=web), V(app!=web), V(tier in (front, back)), V(tier notin (test)), V(app) and V(!app) can be written.
    type: list
    elements: str
    default: []
  apply:
    description:
      - With V(true) a workload becomes exactly what its manifest says; only a number of replicas that the manifest
        does not name stays as it is.
      - With V(false) what is declared already is patched with the definition, as with O(state=patched), and only
        what is new is declared.
    type: bool
    default: true
  force:
    description:
      - What cannot be changed in a declaration (C(strategy.type) of a Deployment, and C(serviceName), C(selector),
        C(podManagementPolicy) and C(volumeClaimTemplates) of a StatefulSet) is changed by deleting it, waiting until
        its pods have ended, and declaring it anew. Otherwise this is an error.
    type: bool
    default: false
  merge_type:
    description:
      - How a patch is meant. V(strategic-merge) merges lists such as containers by the names of their elements,
        V(merge) (RFC 7386) replaces lists.
    type: str
    choices: [strategic-merge, merge]
    default: strategic-merge
  validate:
    description:
      - Whether all manifests are checked before the first of them is sent. Without O(continue_on_error) and with
        O(apply=true) they always are.
    type: bool
    default: false
  append_hash:
    description:
      - Whether a hash of its content is put behind the name of each ConfigMap and Secret of the definition, here and
        wherever a workload of the definition names it.
    type: bool
    default: false
  continue_on_error:
    description:
      - Whether to go on with the other workloads of the definition when one fails. The task fails at the end all the
        same, and RV(results) tells what became of each.
    type: bool
    default: false
  delete_options:
    description: What must be true of what is deleted. Only where O(state=absent) means one workload.
    type: dict
    suboptions:
      preconditions:
        description: What its metadata must have.
        type: dict
        required: true
        suboptions:
          uid:
            description: The uid.
            type: str
          resource_version:
            description: The resourceVersion.
            type: str
            aliases: [resourceVersion]
notes:
  - Values of Secrets are in no return value, log or diff. Those of six characters and more are also masked wherever
    else Ansible would show them in what this task returns.
seealso:
  - module: beemesh.mesh.beemesh_workload_info
  - module: beemesh.mesh.beemesh_workload_scale
"""

EXAMPLES = r"""
- name: Run two replicas of a web server, and wait until both serve
  beemesh.mesh.beemesh_workload:
    definition:
      apiVersion: apps/v1
      kind: Deployment
      metadata:
        name: web
        labels: {app: web}
      spec:
        replicas: 2
        selector:
          matchLabels: {app: web}
        template:
          metadata:
            labels: {app: web}
          spec:
            terminationGracePeriodSeconds: 2
            containers:
              - name: web
                image: docker.io/library/busybox:1.37
                imagePullPolicy: IfNotPresent
                command: [httpd, -f, -p, "8080", -h, /etc]
                ports:
                  - containerPort: 8080
    wait: true

- name: Run what a template says, with a password from the vault in its Secret
  beemesh.mesh.beemesh_workload:
    template: database.yml.j2
    wait: true
    wait_timeout: 300

- name: Options that all modules of a play have in common
  module_defaults:
    group/beemesh.mesh.beemesh:
      namespace: shop
      timeout: 30
  block:
    - name: Declare every manifest of a directory
      beemesh.mesh.beemesh_workload:
        src: shop/
        wait: true

    - name: Delete what belongs to a test
      beemesh.mesh.beemesh_workload:
        state: absent
        kind: Deployment
        label_selectors:
          - stage in (test, preview)

- name: See where three replicas would run, without running them
  beemesh.mesh.beemesh_workload:
    src: shop/cart.yml
    namespace: shop
  check_mode: true
  register: tried

- name: Tell the machines
  ansible.builtin.debug:
    msg: "{{ tried.placement | map(attribute='machine') | sort }}"

- name: Take another image, and leave everything else as it is
  beemesh.mesh.beemesh_workload:
    state: patched
    kind: Deployment
    name: web
    definition:
      spec:
        template:
          spec:
            containers:
              - name: web
                image: docker.io/library/busybox:1.37.0
    wait: true
    wait_sleep: 1
    wait_condition:
      type: Progressing
      reason: NewReplicaSetAvailable

- name: Delete it, and wait until it has ended everywhere
  beemesh.mesh.beemesh_workload:
    state: absent
    kind: Deployment
    name: web
    wait: true
"""

RETURN = r"""
result:
  description: The object as it is declared now, or would be; empty for several and for what is deleted.
  returned: always
  type: dict
  sample: {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2}, status: {readyReplicas:
  2}}
results:
  description: What became of each workload.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Its kind.
      type: str
    namespace:
      description: Its namespace.
      type: str
    name:
      description: Its name.
      type: str
    uid:
      description: Its uid.
      type: str
    method:
      description: What was or would be done.
      type: str
      sample: update
    changed:
      description: Whether it is or would be different.
      type: bool
    result:
      description: The object as it is declared now, or would be.
      type: dict
    diff:
      description: The difference of the wanted from the live manifest.
      type: str
    placement:
      description: As RV(placement).
      type: list
      elements: dict
    replicas:
      description: How many replicas are declared.
      type: int
    replicas_ready:
      description: How many of them are ready.
      type: int
    waiting:
      description: In check mode, how many replicas would find no machine.
      type: int
    message:
      description: What the mesh says of it, why a replica finds no machine for example.
      type: str
    error:
      description: Why it failed, as C(msg), C(reason) and C(rc); only of what did.
      type: dict
method:
  description: What was or would be done; V(several) if that differs from workload to workload.
  returned: always
  type: str
  sample: create
  choices: [create, update, replace, patch, delete, none, several]
placement:
  description:
    - Where each replica is, by slot. In check mode where it would start, if it does not run already.
    - Empty for several workloads, see RV(results).
  returned: always
  type: list
  elements: dict
  contains:
    slot:
      description: Number of the replica.
      type: int
    machine:
      description: Name of the machine.
      type: str
    predicted:
      description: Whether the replica is not there, and this is where it would start.
      type: bool
    pod:
      description: Name of the pod, if there is one.
      type: str
    ready:
      description: Whether it is ready, if there is one.
      type: bool
  sample:
    - {slot: 0, machine: web1, predicted: false, pod: web-7d4b8c9f5x-k2m9q, ready: true}
replicas_ready:
  description:
    - How many replicas of all these workloads are ready on what is declared now. In check mode of a change, how many of
      those that run would stay.
  returned: always
  type: int
  sample: 2
diff:
  description: The live against the wanted manifests, as C(prepared). Values of Secrets are masked.
  returned: always
  type: dict
duration:
  description: Seconds that declaring and waiting took.
  returned: always
  type: float
  sample: 3.2
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import CONNECTION, EXCLUSIVE, NAMESPACE, BeectlError
from ansible_collections.beemesh.mesh.plugins.module_utils.conditions import CONDITION, WAIT
from ansible_collections.beemesh.mesh.plugins.module_utils.manifests import WORKLOADS, ManifestError, shown
from ansible_collections.beemesh.mesh.plugins.module_utils.workload import Workload

OPTIONS: dict[str, t.Any] = {
    "wait": {"type": "bool"},
    "wait_timeout": WAIT["wait_timeout"],
    "state": {"type": "str", "choices": ["present", "absent", "patched"], "default": "present"},
    "resource_definition": {"type": "raw", "aliases": ["definition", "inline"]},
    "src": {"type": "path"},
    "template": {"type": "raw"},
    "kind": {"type": "str", "choices": list(WORKLOADS)},
    "name": {"type": "str"},
    "label_selectors": {"type": "list", "elements": "str", "default": []},
    "apply": {"type": "bool", "default": True},
    "force": {"type": "bool", "default": False},
    "merge_type": {"type": "str", "choices": ["strategic-merge", "merge"], "default": "strategic-merge"},
    "validate": {"type": "bool", "default": False},
    "append_hash": {"type": "bool", "default": False},
    "continue_on_error": {"type": "bool", "default": False},
    "delete_options": {
        "type": "dict",
        "options": {
            "preconditions": {
                "type": "dict",
                "required": True,
                "options": {
                    "uid": {"type": "str"},
                    "resource_version": {"type": "str", "aliases": ["resourceVersion"]},
                },
            },
        },
    },
}


class Module(AnsibleModule):
    """Shows no value of a Secret when it fails, also when its options are wrong and nothing of them was read."""

    def fail_json(self, msg: str, **facts: t.Any) -> t.NoReturn:
        """Fail; the options, which Ansible returns with it, are masked. An option that is none may hold anything."""
        known = {name for option, told in self.argument_spec.items() for name in (option, *told.get("aliases", ()))}
        for option, value in self.params.items():
            whole = option not in known or option in ("resource_definition", "definition", "inline")
            self.params[option] = shown(value, texts=not whole)
        super().fail_json(msg, **facts)


def main() -> None:
    """Run the module."""
    module = Module(
        argument_spec={**OPTIONS, **CONNECTION, **NAMESPACE, **CONDITION},
        mutually_exclusive=[*EXCLUSIVE, ("resource_definition", "src", "template")],
        supports_check_mode=True,
        no_log=True,  # manifests hold secrets, which the log of a host must not
    )
    began = time.monotonic()
    for option in ("src", "template"):
        if module.params[option] is not None:
            module.fail_json(msg=f"{option} is read on the controller: run this module as a task, not by itself")
    workload = None
    try:
        workload = Workload(module)
        workload.run()
    except ManifestError as error:
        module.fail_json(msg=str(error), reason="invalid", rc=None)
    except BeectlError as error:
        told = workload.answer(time.monotonic() - began) if workload is not None else {}
        module.fail_json(**{**told, **error.told})
    if workload is not None:
        module.exit_json(**workload.answer(time.monotonic() - began))


if __name__ == "__main__":
    main()
