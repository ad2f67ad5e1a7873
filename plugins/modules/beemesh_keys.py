#!/usr/bin/python
# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, keep and remove private keys."""

from __future__ import annotations

DOCUMENTATION = r"""
module: beemesh_keys
short_description: Make, keep and remove the private keys of a machine, an operator or a mesh root
version_added: 0.1.0
author:
  - Beemesh contributors (@beemesh)
description:
  - Makes a key where it is to be used, and leaves it there. A key that is as wanted is left as it is.
  - A machine or an operator has two keys in one file, ML-DSA-65 and Ed25519; a mesh root has one, ML-DSA-65.
  - The directory must be one that nobody but its owner can enter. A missing one is made so.
  - The content of a key is never returned. For keys that are kept in a vault there is
    M(beemesh.mesh.beemesh_keys_pipe).
extends_documentation_fragment:
  - beemesh.mesh.keys
  - ansible.builtin.files
attributes:
  check_mode:
    description: Can run in check mode and tell whether it would change something, without making a key.
    support: full
  diff_mode:
    description: Shows type, fingerprint and whether there is a passphrase, before and after.
    support: full
options:
  path:
    description: The file of the key.
    type: path
    required: true
  type:
    description: Whose key it is. That of a machine has no passphrase, since nobody is there to give it.
    type: str
    choices: [machine, operator, mesh-root]
    default: machine
  state:
    description: Whether there is to be a key.
    type: str
    choices: [present, absent]
    default: present
  regenerate:
    description:
      - What may happen to a key that is there. A missing one is always made.
      - V(never) keeps a readable key, whatever its type; what cannot be read, or has another passphrase or none, is an
        error.
      - V(fail) also fails for a key of another type.
      - V(partial_idempotence) replaces a key of another type; what cannot be read is an error.
      - V(full_idempotence) also replaces what cannot be read, has another passphrase, or has none although
        O(passphrase) is given.
      - V(always) makes a new key every time.
      - A replaced key is lost, and with it the membership that was certified for it; see O(backup). So the default is
        more careful than that of M(community.crypto.openssl_privatekey).
    type: str
    choices: [never, fail, partial_idempotence, full_idempotence, always]
    default: fail
  force:
    description: The same as O(regenerate=always).
    type: bool
    default: false
  backup:
    description: Keep a copy of a key before it is replaced or removed, beside it and as private as it.
    type: bool
    default: false
  mode:
    description:
      - The mode of the file, V(0600) by default. One that gives others any access is refused, however it is written,
        for C(beectl) would not read the key. Symbolic modes are applied to V(0600).
seealso:
  - module: beemesh.mesh.beemesh_keys_info
  - module: beemesh.mesh.beemesh_certificate
  - module: beemesh.mesh.beemesh_keys_pipe
"""

EXAMPLES = r"""
- name: Have a machine make its keys
  beemesh.mesh.beemesh_keys:
    path: /var/lib/beemesh/machine.key
    type: machine

- name: Make an operator's key with a passphrase
  beemesh.mesh.beemesh_keys:
    path: ~/.config/beemesh/shop/operator.key
    type: operator
    passphrase: "{{ operator_passphrase }}"

- name: Replace it when its passphrase was lost, and keep the old one
  beemesh.mesh.beemesh_keys:
    path: ~/.config/beemesh/shop/operator.key
    type: operator
    passphrase: "{{ operator_passphrase }}"
    regenerate: full_idempotence
    backup: true

- name: Remove the keys of a machine that left
  beemesh.mesh.beemesh_keys:
    path: /var/lib/beemesh/machine.key
    state: absent
"""

RETURN = r"""
filename:
  description: The file of the key.
  returned: success
  type: str
  sample: /var/lib/beemesh/machine.key
type:
  description: Whose key it is.
  returned: when there is a key that can be read
  type: str
  sample: machine
fingerprint:
  description: SHA-256 of the public halves, in hex. Of the first root of a mesh it is the id of the mesh.
  returned: when there is a key that can be read
  type: str
  sample: 5b41362bc82b7f3d56edc5a306db22105707d01ff4819e26faef9724a2d406c9
public_key:
  description: The ML-DSA-65 public key, in hex.
  returned: when there is a key that can be read
  type: str
  sample: 4b1f...
peer_id:
  description: The libp2p peer id, which carries the Ed25519 public key.
  returned: when there is a readable key of a machine or an operator
  type: str
  sample: 12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA
encrypted:
  description: Whether the key has a passphrase.
  returned: when there is a key that can be read
  type: bool
  sample: false
backup_file:
  description: Where the copy of the replaced or removed key is.
  returned: when O(backup) is set and there was a key
  type: str
  sample: /var/lib/beemesh/machine.key.2119.2027-03-09@11:22~
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import Beectl, BeectlError, Facts
from ansible_collections.beemesh.mesh.plugins.module_utils.keyring import (
    EXCLUSIVE,
    KINDS,
    OPTIONS,
    REGENERATE,
    Key,
    beectl_for,
    has_passphrase,
    look,
    must_make,
    open_to_others,
    private_mode,
    written,
)


def _check_options(module: t.Any) -> None:
    """Refuse what would make a key that nobody can use."""
    if module.params["type"] == "machine" and has_passphrase(module):
        raise BeectlError("the key of a machine has no passphrase: beemeshd starts where nobody can give it", "invalid")
    module.params["mode"] = private_mode(module)


def _look(module: t.Any, beectl: Beectl, path: str, result: Facts) -> Key:
    """What is there. beectl does not read what others could have read: such a key is closed, or copied to be tried."""
    if not (os.path.isfile(path) and open_to_others(path)):
        return look(beectl, path)
    module.warn(f"others had access to {path}: consider the key as known to them")
    result["changed"] = True
    if not module.check_mode:
        os.chmod(path, 0o600)
        return look(beectl, path)
    with open(path, "rb") as file:
        return look(beectl, written(module, file.read()), path)


def _present(module: t.Any, result: Facts) -> None:
    path, kind, encrypted = module.params["path"], module.params["type"], has_passphrase(module)
    _check_options(module)
    beectl = beectl_for(module)
    key = _look(module, beectl, path, result)
    make = must_make(key, kind, encrypted, "always" if module.params["force"] else module.params["regenerate"])
    result["diff"]["before"] = key.shown
    if make:
        result["changed"] = True
        if module.check_mode:
            key = Key({"kind": kind, "fingerprint": "(of the key to be made)", "encrypted": encrypted})
        else:
            if module.params["backup"] and key.exists:
                result["backup_file"] = module.backup_local(path)
            options = (["--encrypt"] if encrypted else []) + (["--replace"] if key.exists else [])
            key = Key(beectl.json("keys", "generate", path, "--kind", kind, *options))
    result["diff"]["after"] = key.shown
    if key.facts is not None:
        made = {name: key.facts[name] for name in ("public_key", "peer_id", "encrypted") if name in key.facts}
        result.update(made, type=key.facts["kind"])
        if not (make and module.check_mode):
            result["fingerprint"] = key.facts["fingerprint"]
    if os.path.exists(path):
        wanted = module.load_file_common_arguments(module.params)
        result["changed"] = module.set_fs_attributes_if_different(wanted, result["changed"])


def _absent(module: t.Any, result: Facts) -> None:
    path = module.params["path"]
    if not os.path.lexists(path):
        return
    result["changed"] = True
    result["diff"] = {"before": {"exists": True}, "after": {"exists": False}}
    if not module.check_mode:
        if module.params["backup"]:
            result["backup_file"] = module.backup_local(path)
        os.unlink(path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "path": {"type": "path", "required": True},
            "type": {"type": "str", "choices": list(KINDS), "default": "machine"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "regenerate": {"type": "str", "choices": list(REGENERATE), "default": "fail"},
            "force": {"type": "bool", "default": False},
            "backup": {"type": "bool", "default": False},
        },
        mutually_exclusive=EXCLUSIVE,
        add_file_common_args=True,
        supports_check_mode=True,
    )
    path = module.params["path"]
    result: Facts = {"changed": False, "filename": path, "diff": {"before": {}, "after": {}}}
    try:
        (_absent if module.params["state"] == "absent" else _present)(module, result)
    except BeectlError as error:
        named = error.message if path in error.message else f"{path}: {error.message}"
        module.fail_json(filename=path, **{**error.told, "msg": named})
    except OSError as error:
        module.fail_json(msg=f"{path}: {error.strerror}", filename=path)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
