#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make private keys for a vault."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_keys_pipe
short_description: Make the private key of an operator or a mesh root without keeping it in a file
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Makes a key and returns its text, always locked with a passphrase (Argon2id and AES-256-GCM), for a vault or a
    secret manager. One of O(passphrase) and O(passphrase_file) is required, since no key is ever returned without.
  - A key that is given and is as wanted is left as it is, and not returned again.
  - There is no type for machines. Their keys are made on them and never leave them, see
    M(beemesh.mesh.beemesh_keys).
extends_documentation_fragment:
  - beemesh.mesh.keys
attributes:
  check_mode:
    description: Can run in check mode and tell whether it would make a key, without making one.
    support: full
  diff_mode:
    description: Shows type, fingerprint and whether there is a passphrase, before and after.
    support: full
options:
  content:
    description: The text of the key that there is, locked with the same passphrase. Without it a key is made.
    type: str
  type:
    description: Whose key it is.
    type: str
    choices: [operator, mesh-root]
    default: mesh-root
  regenerate:
    description: What may happen to the key in O(content), as with M(beemesh.mesh.beemesh_keys).
    type: str
    choices: [never, fail, partial_idempotence, full_idempotence, always]
    default: fail
notes:
  - Keep the locked key as secret as its passphrase allows, since whoever has it can try passphrases on it for ever.
seealso:
  - module: beemesh.mesh.beemesh_keys
"""

EXAMPLES = r"""
- name: Have a mesh root that lives in the vault only
  beemesh.mesh.beemesh_keys_pipe:
    type: mesh-root
    content: "{{ vault_mesh_root | default(omit) }}"
    passphrase: "{{ root_passphrase }}"
  register: root
  delegate_to: localhost

- name: Put a new one into the vault
  ansible.builtin.copy:
    content: "{{ {'vault_mesh_root': root.content} | to_nice_yaml | ansible.builtin.vault(vault_secret) }}"
    dest: "{{ inventory_dir }}/group_vars/all/root.yml"
    decrypt: false
    mode: "0600"
  when: root is changed
  delegate_to: localhost
"""

RETURN = r"""
content:
  description:
    - The text of the new key, locked with the passphrase.
    - Not returned in check mode.
  returned: when a key was made
  type: str
  sample: |
    -----BEGIN BEEMESH KEY-----
    Version: 1
    Kind: mesh-root
    ...
type:
  description: Whose key it is.
  returned: success
  type: str
  sample: mesh-root
fingerprint:
  description: SHA-256 of the public halves, in hex. Of the first root of a mesh it is the id of the mesh.
  returned: success, but not for a key that would be made (check mode)
  type: str
  sample: 5b41362bc82b7f3d56edc5a306db22105707d01ff4819e26faef9724a2d406c9
public_key:
  description: The ML-DSA-65 public key, in hex.
  returned: as RV(fingerprint)
  type: str
  sample: 4b1f...
peer_id:
  description: The libp2p peer id, which carries the Ed25519 public key.
  returned: as RV(fingerprint), for an operator
  type: str
  sample: 12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA
"""

import os
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import Beectl, BeectlError, Facts
from ansible_collections.beemesh.mesh.plugins.module_utils.keyring import (
    EXCLUSIVE,
    OPTIONS,
    REGENERATE,
    Key,
    beectl_for,
    look,
    must_make,
    written,
)


def _run(module: t.Any, beectl: Beectl) -> Facts:
    content, kind = module.params["content"], module.params["type"]
    key = Key() if content is None else look(beectl, written(module, content), "content")
    result: Facts = {"changed": False, "type": kind, "diff": {"before": key.shown, "after": key.shown}}
    if must_make(key, kind, True, module.params["regenerate"]):
        result["changed"] = True
        result["diff"]["after"] = {"kind": kind, "encrypted": True}
        if module.check_mode:
            return result
        # Locked before it is written, and gone when the module ends.
        with tempfile.TemporaryDirectory(dir=module.tmpdir, prefix="beemesh-") as place:
            path = os.path.join(place, "key")
            key = Key(beectl.json("keys", "generate", path, "--kind", kind, "--encrypt"))
            with open(path, encoding="utf-8") as file:
                result["content"] = file.read()
        if any(secret in result["content"] for secret in module.no_log_values):
            raise BeectlError(
                "the text of the new key has the passphrase in it by chance, and Ansible would blot that out: choose "
                "another one, longer at best",
                "invalid",
            )
        result["diff"]["after"] = key.shown
    facts = key.facts or {}
    result["type"] = facts.get("kind", kind)
    result.update({name: facts[name] for name in ("fingerprint", "public_key", "peer_id") if name in facts})
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "content": {"type": "str", "no_log": True},
            "type": {"type": "str", "choices": ["operator", "mesh-root"], "default": "mesh-root"},
            "regenerate": {"type": "str", "choices": list(REGENERATE), "default": "fail"},
        },
        mutually_exclusive=EXCLUSIVE,
        required_one_of=EXCLUSIVE,
        supports_check_mode=True,
    )
    try:
        result = _run(module, beectl_for(module))
    except BeectlError as error:
        module.fail_json(**error.told)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
