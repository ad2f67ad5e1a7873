#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign requests of machines and operators, and revoke members."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_certificate
short_description: Sign the request of a machine or an operator with the root of the mesh, or revoke a member
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Takes a signing request and writes the join bundle that answers it, with the certificate in it. Only the maker of
    the request can open the bundle, so it may travel by any way.
  - Runs where the directory of the mesh is, mostly on the controller (C(delegate_to=localhost)).
  - What was signed is known from the ledger in that directory. A bundle that is there, and still is what would be
    signed, stays as it is, and no key is opened for it.
extends_documentation_fragment:
  - beemesh.mesh.connection
  - ansible.builtin.files
attributes:
  check_mode:
    description: Can run in check mode and tell what would be signed or revoked, and why, without the root's key.
    support: full
  diff_mode:
    description: Shows what the certificate says, before and after.
    support: full
options:
  state:
    description:
      - V(present) has a bundle with the wanted certificate in O(path).
      - V(absent) removes the file in O(path). The certificate stays good, for whoever has it.
      - V(revoked) has the mesh believe a member no more, now and for good. For the same keys it gets no certificate
        again.
    type: str
    choices: [present, absent, revoked]
    default: present
  path:
    description: The file of the bundle. Required but for O(state=revoked).
    type: path
  request_path:
    description: The file of the request, as C(beemeshd keys request) or C(beectl keys request) wrote it.
    type: path
  request_content:
    description:
      - The request itself, in Base64, as M(ansible.builtin.slurp) returns it. One of it and O(request_path) is
        required for O(state=present).
    type: str
  nonce:
    description: What the request must carry, 64 hexadecimal digits. Without it a request of any age is signed.
    type: str
  role:
    description: Whose certificate it is.
    type: str
    choices: [machine, operator]
    default: machine
  name:
    description:
      - What the machine or the operator is called. Required for O(state=present).
      - For O(state=revoked) it names the member, together with O(role).
    type: str
  labels:
    description: Labels of a machine that are to be believed.
    type: dict
    default: {}
  guardian:
    description: Whether a machine may be responsible for workloads. Say V(false) for those that are often away.
    type: bool
    default: true
  namespaces:
    description: Where an operator may act, V(*) for everywhere. Required for O(role=operator).
    type: list
    elements: str
    default: []
  verbs:
    description: What an operator may do there, V(get) for example, or V(*) for all. Required for O(role=operator).
    type: list
    elements: str
    default: []
  bootstrap:
    description:
      - Addresses of machines to meet first, as C(/ip4/192.0.2.7/tcp/7400/p2p/PEER). By default those that the directory
        knows.
      - Others are no reason to sign anew, since whichever is met first tells of all others.
    type: list
    elements: str
    default: []
  addresses:
    description: Where the machine itself is reached, for the directory to know.
    type: list
    elements: str
    default: []
  renew:
    description:
      - Whether a request with new keys is one of the same member, which then keeps its id and all that it holds.
      - Otherwise it is a new member with the name of the old one.
    type: bool
    default: false
  not_before:
    description:
      - When the certificate begins, as V(2027-03-01T12:00:00Z), V(20270301120000Z), or V(-1h) from now. An hour ago by
        default, since clocks differ.
    type: str
  not_after:
    description:
      - When the certificate ends, in the same way, as V(+3650d). By default in ten years for a machine and in one for
        an operator.
    type: str
  ignore_timestamps:
    description:
      - Whether other times in O(not_before) and O(not_after) are no reason to sign anew. Relative ones are others at
        every run, so they only go with V(true).
      - What has expired is signed anew in any case.
    type: bool
    default: true
  remaining_days:
    description: Sign anew when the certificate ends within this many days.
    type: int
    default: 0
  force:
    description: Sign anew in any case.
    type: bool
    default: false
  backup:
    description: Keep a copy of a bundle before it is replaced or removed.
    type: bool
    default: false
  root_key_path:
    description:
      - The key of the root that signs, where it is not in the directory. Its passphrase is O(passphrase) or
        O(passphrase_file).
    type: path
  root_key_content:
    description: The text of that key, out of a vault, as M(beemesh.mesh.beemesh_keys_pipe) returned it.
    type: str
  machine_id:
    description: The id of the member to revoke, where O(name) is not known or not unique.
    type: str
  serial:
    description: The serial of one certificate to revoke, the one before a renewal for example. The member stays.
    type: int
  reason:
    description: Why it is revoked, for people who read the list.
    type: str
  by:
    description:
      - Who signs the revocation, the root in the directory or the operator, who needs the verb V(revoke). By default
        the root where there is one.
    type: str
    choices: [root, operator]
  mode:
    description: The mode of the bundle, V(0600) by default.
seealso:
  - module: beemesh.mesh.beemesh_keys
  - module: beemesh.mesh.beemesh_keys_pipe
"""

EXAMPLES = r"""
- name: Sign the request of a machine
  beemesh.mesh.beemesh_certificate:
    dir: ~/.config/beemesh/home
    request_path: /tmp/web1.request
    name: web1
    labels: {topology.kubernetes.io/region: eu-central}
    path: /tmp/web1.bundle
  delegate_to: localhost

- name: Sign one that came as a fact, with a root that is in the vault, and renew it a month before it ends
  beemesh.mesh.beemesh_certificate:
    dir: ~/.config/beemesh/home
    request_content: "{{ request.content }}"
    name: sensor1
    guardian: false
    not_after: +365d
    remaining_days: 30
    root_key_content: "{{ vault_mesh_root }}"
    passphrase: "{{ root_passphrase }}"
    path: ~/.config/beemesh/home/bundles/sensor1
  delegate_to: localhost

- name: Let a CI job deploy to one namespace
  beemesh.mesh.beemesh_certificate:
    dir: ~/.config/beemesh/home
    request_path: /tmp/ci.request
    role: operator
    name: ci
    namespaces: [shop]
    verbs: [get, apply]
    path: /tmp/ci.bundle
  delegate_to: localhost

- name: Believe a stolen machine no more
  beemesh.mesh.beemesh_certificate:
    dir: ~/.config/beemesh/home
    state: revoked
    name: web3
    reason: stolen
  register: revocation
  delegate_to: localhost
"""

RETURN = r"""
filename:
  description: The file of the bundle.
  returned: unless O(state=revoked)
  type: str
  sample: /tmp/web1.bundle
reasons:
  description: Why it was, or would be, signed.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [other labels are wanted]
name:
  description: What the member is called.
  returned: when O(state=present)
  type: str
  sample: web1
machine_id:
  description: The id of the member, which it keeps when its certificate is renewed.
  returned: when there is a certificate
  type: str
  sample: 0d5c3a7b9e1f4c2a8b6d5e4f3a2b1c0d
peer_id:
  description: Its libp2p peer id.
  returned: when there is a certificate
  type: str
  sample: 12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA
serial:
  description: The serial of the certificate.
  returned: when there is a certificate
  type: int
  sample: 6120741392118053265
replaced:
  description: The serial of the certificate before it, which is good until it ends or is revoked, or 0.
  returned: when it was signed
  type: int
  sample: 0
not_before:
  description: When the certificate begins.
  returned: when there is a certificate
  type: str
  sample: '2027-03-01T11:00:00Z'
not_after:
  description: When the certificate ends.
  returned: when there is a certificate
  type: str
  sample: '2037-02-26T12:00:00Z'
backup_file:
  description: Where the copy of the replaced or removed bundle is.
  returned: when O(backup) is set and there was a bundle
  type: str
  sample: /tmp/web1.bundle.2119.2027-03-09@11:22~
revoked:
  description: The members that are, or would be, believed no more.
  returned: when O(state=revoked)
  type: list
  elements: dict
  sample: [{kind: machine, name: web3, machine_id: 0d5c3a7b9e1f4c2a8b6d5e4f3a2b1c0d, serial: 0, changed: true}]
exposed:
  description: The workloads whose content the members could read, so that their Secrets have to be replaced.
  returned: when O(state=revoked)
  type: list
  elements: dict
  sample: [{namespace: default, kind: Deployment, name: hello, as: [guardian]}]
epoch:
  description: The epoch that is, or would be, in force.
  returned: when O(state=revoked)
  type: int
  sample: 2
untold:
  description: The machines that did not hear of it yet. Whoever did hands it on when they are back.
  returned: when O(state=revoked)
  type: list
  elements: str
  sample: [sensor1]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils import certificate
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import (
    CONNECTION,
    EXCLUSIVE,
    Beectl,
    BeectlError,
    Facts,
)


def _run(module: t.Any, result: Facts) -> None:
    state = module.params["state"]
    if state == "revoked":
        certificate.revoked(module, Beectl(module), result)
        return
    result["filename"] = module.params["path"]
    if state == "absent":
        certificate.absent(module, result)
    else:
        certificate.present(module, Beectl(module), result)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION,
            "state": {"type": "str", "choices": ["present", "absent", "revoked"], "default": "present"},
            "path": {"type": "path"},
            "request_path": {"type": "path"},
            "request_content": {"type": "str"},
            "nonce": {"type": "str"},
            "role": {"type": "str", "choices": ["machine", "operator"], "default": "machine"},
            "name": {"type": "str"},
            "labels": {"type": "dict", "default": {}},
            "guardian": {"type": "bool", "default": True},
            "namespaces": {"type": "list", "elements": "str", "default": []},
            "verbs": {"type": "list", "elements": "str", "default": []},
            "bootstrap": {"type": "list", "elements": "str", "default": []},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "renew": {"type": "bool", "default": False},
            "not_before": {"type": "str"},
            "not_after": {"type": "str"},
            "ignore_timestamps": {"type": "bool", "default": True},
            "remaining_days": {"type": "int", "default": 0},
            "force": {"type": "bool", "default": False},
            "backup": {"type": "bool", "default": False},
            "root_key_path": {"type": "path", "no_log": False},
            "root_key_content": {"type": "str", "no_log": True},
            "machine_id": {"type": "str"},
            "serial": {"type": "int"},
            "reason": {"type": "str"},
            "by": {"type": "str", "choices": ["root", "operator"]},
        },
        mutually_exclusive=[
            *EXCLUSIVE,
            ("request_path", "request_content"),
            ("root_key_path", "root_key_content"),
        ],
        required_if=[
            ("state", "present", ("path", "name")),
            ("state", "present", ("request_path", "request_content"), True),
            ("state", "absent", ("path",)),
            ("state", "revoked", ("name", "machine_id", "serial"), True),
        ],
        add_file_common_args=True,
        supports_check_mode=True,
    )
    result: Facts = {"changed": False, "diff": {"before": {}, "after": {}}}
    if module.params["state"] == "present" and module.params["role"] == "operator":
        lacking = [name for name in ("namespaces", "verbs") if not module.params[name]]
        if lacking:
            module.fail_json(
                msg=f"role is operator but the following are missing: {', '.join(lacking)}", reason="invalid"
            )
    try:
        _run(module, result)
    except BeectlError as error:
        module.fail_json(**error.told)
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['path']}: {error.strerror}", reason="failed")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
