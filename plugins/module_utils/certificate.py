# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What beemesh_certificate does: bundles with certificates out of requests, and revocations, by `beectl cert`."""

from __future__ import annotations

import base64
import binascii
import os
import time
import typing as t

from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import Beectl, BeectlError, Facts
from ansible_collections.beemesh.mesh.plugins.module_utils.keyring import written

_SHOWN = ("serial", "machine_id", "labels", "guardian", "namespaces", "verbs", "not_before", "not_after")
_RETURNED = ("changed", "reasons", "name", "machine_id", "peer_id", "serial", "replaced")


def _options(module: t.Any) -> list[str]:
    """The words that say which certificate is wanted."""
    params = module.params
    if params["role"] == "operator":
        words = ["cert", "operator", *(f"--namespace={each}" for each in params["namespaces"])]
        words += [f"--verb={each}" for each in params["verbs"]]
    else:
        words = ["cert", "sign", *(f"--label={key}={value}" for key, value in sorted(params["labels"].items()))]
        words += [] if params["guardian"] else ["--no-guardian"]
        words += [f"--address={each}" for each in params["addresses"]]
    words += [f"--name={params['name']}", f"--request={_request(module)}", f"--out={params['path']}"]
    words += [f"--bootstrap={each}" for each in params["bootstrap"]]
    words += [
        f"--{name.replace('_', '-')}={params[name]}" for name in ("nonce", "not_before", "not_after") if params[name]
    ]
    words += ["--renew"] if params["renew"] else []
    words += [] if params["force"] else ["--if-changed", f"--ending-within={params['remaining_days']}d"]
    words += [] if params["ignore_timestamps"] else ["--compare-times"]
    if params["root_key_content"] is not None:
        words.append(f"--root-key={written(module, params['root_key_content'])}")
    elif params["root_key_path"] is not None:
        words.append(f"--root-key={params['root_key_path']}")
    return words


def _request(module: t.Any) -> str:
    """The file of the request."""
    if module.params["request_path"] is not None:
        return module.params["request_path"]
    try:
        content = base64.b64decode(module.params["request_content"], validate=True)
    except (binascii.Error, ValueError):
        raise BeectlError(
            "request_content is not Base64: give it as ansible.builtin.slurp returns it", "invalid"
        ) from None
    return written(module, content)


def present(module: t.Any, beectl: Beectl, result: Facts) -> None:
    """Have the bundle with the wanted certificate. Raises `BeectlError`, and `OSError` for the file."""
    path, words = module.params["path"], _options(module)
    facts = beectl.json(*words, "--dry-run")
    result["diff"]["before"] = _shown(facts)
    if facts["changed"] and not module.check_mode:
        if module.params["backup"] and os.path.exists(path):
            result["backup_file"] = module.backup_local(path)
        os.umask(0o077)
        facts = beectl.json(*words)
    if facts["changed"] and module.check_mode:
        said = ("namespaces", "verbs") if module.params["role"] == "operator" else ("labels", "guardian")
        result["diff"]["after"] = {**result["diff"]["before"], **{name: module.params[name] for name in said}}
    else:
        result["diff"]["after"] = _shown(facts)
    result.update({name: facts[name] for name in _RETURNED if name in facts})
    result.update({name: _time(facts[name]) for name in ("not_before", "not_after") if name in facts})
    if os.path.exists(path):
        if module.params["mode"] is None:
            module.params["mode"] = "0600"
        wanted = module.load_file_common_arguments(module.params)
        result["changed"] = module.set_fs_attributes_if_different(wanted, result["changed"])


def absent(module: t.Any, result: Facts) -> None:
    """Remove the file of the bundle. Raises `OSError`."""
    path = module.params["path"]
    if os.path.lexists(path):
        result.update(changed=True, diff={"before": {"exists": True}, "after": {"exists": False}})
        if not module.check_mode:
            if module.params["backup"]:
                result["backup_file"] = module.backup_local(path)
            os.unlink(path)


def revoked(module: t.Any, beectl: Beectl, result: Facts) -> None:
    """Have the mesh believe a member no more. Raises `BeectlError`."""
    params = module.params
    if params["serial"] is not None:
        member = f"serial/{params['serial']}"
    else:
        member = params["machine_id"] or f"{params['role']}/{params['name']}"
    words = ["cert", "revoke", *(f"--{name}={params[name]}" for name in ("reason", "by") if params[name])]
    words += ["--dry-run"] if module.check_mode else []
    facts = beectl.json(*words, "-o", "json", "--", member, formatted=True)
    result.update({name: facts[name] for name in ("changed", "revoked", "exposed", "epoch", "untold")})
    before = [{**each, "revoked": not each["changed"]} for each in facts["revoked"]]
    result["diff"] = {"before": before, "after": [{**each, "revoked": True} for each in before]}
    for name, why in facts["not_signed_again"].items():
        module.warn(f"{name} could not be signed again: {why}; run this again once it is so")


def _shown(facts: Facts) -> Facts:
    """What a diff has of a certificate."""
    return {name: _time(facts[name]) if name.startswith("not_") else facts[name] for name in _SHOWN if name in facts}


def _time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(milliseconds // 1000))
