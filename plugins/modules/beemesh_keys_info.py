#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a key file says."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_keys_info
short_description: Tell what a private key of a machine, an operator or a mesh root is
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Tells the type and the fingerprint of a key, without its passphrase, and with it whether the passphrase is right,
    whether the key is whole, and its public halves.
  - Nothing private is returned.
extends_documentation_fragment:
  - beemesh.mesh.keys
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Has nothing to compare.
    support: none
options:
  path:
    description: The file of the key. One of O(path) and O(content) is required.
    type: path
  content:
    description: The text of the key, out of a vault for example.
    type: str
seealso:
  - module: beemesh.mesh.beemesh_keys
  - module: beemesh.mesh.beemesh_keys_pipe
"""

EXAMPLES = r"""
- name: Look at the keys of a machine
  beemesh.mesh.beemesh_keys_info:
    path: /var/lib/beemesh/machine.key
  register: keys

- name: See that the root in the vault can be used before anything else begins
  beemesh.mesh.beemesh_keys_info:
    content: "{{ vault_mesh_root }}"
    passphrase: "{{ root_passphrase }}"
  register: root
  failed_when: not root.unlocked or root.type != 'mesh-root'
  delegate_to: localhost
"""

RETURN = r"""
type:
  description: Whose key it is, V(machine), V(operator) or V(mesh-root).
  returned: success
  type: str
  sample: mesh-root
fingerprint:
  description: SHA-256 of the public halves, in hex. Of the first root of a mesh it is the id of the mesh.
  returned: success
  type: str
  sample: 5b41362bc82b7f3d56edc5a306db22105707d01ff4819e26faef9724a2d406c9
encrypted:
  description: Whether the key has a passphrase.
  returned: success
  type: bool
  sample: true
unlocked:
  description:
    - Whether the key could be read, and its secret matches its fingerprint.
    - Always true for a key without a passphrase, false where one is missing or wrong.
  returned: success
  type: bool
  sample: true
public_key:
  description: The ML-DSA-65 public key, in hex.
  returned: when it is unlocked
  type: str
  sample: 4b1f...
peer_id:
  description: The libp2p peer id, which carries the Ed25519 public key.
  returned: when the key of a machine or an operator is unlocked
  type: str
  sample: 12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import Beectl, BeectlError, Facts
from ansible_collections.beemesh.mesh.plugins.module_utils.keyring import EXCLUSIVE, OPTIONS, beectl_for, written


def _facts(module: t.Any, beectl: Beectl) -> Facts:
    content, unlocked = module.params["content"], True
    path = module.params["path"] if content is None else written(module, content)
    try:
        facts = beectl.json("keys", "inspect", path, "--unlock")
    except BeectlError as error:
        if error.reason != "not_allowed":
            error.message = error.message if content is None else error.message.replace(path, "content")
            raise
        facts, unlocked = beectl.json("keys", "inspect", path), False
    shown = {name: facts[name] for name in ("fingerprint", "encrypted", "public_key", "peer_id") if name in facts}
    return {"type": facts["kind"], "unlocked": unlocked, **shown}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "path": {"type": "path"},
            "content": {"type": "str", "no_log": True},
        },
        mutually_exclusive=[*EXCLUSIVE, ("path", "content")],
        required_one_of=[("path", "content")],
        supports_check_mode=True,
    )
    try:
        facts = _facts(module, beectl_for(module))
    except BeectlError as error:
        module.fail_json(**error.told)
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
