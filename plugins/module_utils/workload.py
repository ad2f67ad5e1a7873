# Copyright (c) Beemesh contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What beemesh_workload does with its documents, and what it returns of each workload."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.beemesh.mesh.plugins.module_utils import manifests
from ansible_collections.beemesh.mesh.plugins.module_utils.beectl import (
    Beectl,
    BeectlError,
    Facts,
    hide,
    seconds,
    warn,
)
from ansible_collections.beemesh.mesh.plugins.module_utils.conditions import check_standing, wait_for_condition

METHODS = {
    "created": "create",
    "configured": "update",
    "replaced": "replace",
    "patched": "patch",
    "deleted": "delete",
    "unchanged": "none",
}


class Workload:
    """One run of the module."""

    def __init__(self, module: t.Any) -> None:
        """Read the definition, and have what is secret in it masked."""
        self.module = module
        self.params: Facts = module.params
        if self.params["wait"] is None:
            self.params["wait"] = self.params["state"] != "absent"
        self.check: bool = module.check_mode
        self.beectl = Beectl(module)
        self.results: list[Facts] = []
        given = self.params["resource_definition"]
        self.documents = [] if given is None else manifests.documents(given)
        hide(module, manifests.secrets(self.documents))
        for option in ("resource_definition", "definition", "inline"):
            if option in self.params:
                self.params[option] = manifests.masked(self.documents)
        self.documents = self._chosen(
            manifests.complete(self.documents, self.params["kind"], self.params["name"], self.params["namespace"])
        )

    def _chosen(self, documents: list[manifests.Manifest]) -> list[manifests.Manifest]:
        if self.params["append_hash"]:
            manifests.append_hash(documents)
        selectors = self.params["label_selectors"]
        if not selectors or not documents:
            return documents
        chosen = [
            group
            for group in manifests.groups(documents)
            if manifests.selected(group[0]["metadata"].get("labels") or {}, selectors)
        ]
        kept: list[manifests.Manifest] = []
        for group in chosen:
            kept += [document for document in group if document not in kept]
        return kept

    def run(self) -> None:
        """Do what the state says. Raises `BeectlError` and `ManifestError`."""
        state = self.params["state"]
        if state == "absent":
            self._delete()
            return
        if not self.params["resource_definition"]:
            raise manifests.ManifestError(f"state is {state}: give resource_definition, src or template")
        groups = manifests.groups(self.documents)
        one_by_one = state == "patched" or not self.params["apply"] or self.params["continue_on_error"]
        if one_by_one and (idle := manifests.unused(self.documents, groups)):
            raise manifests.ManifestError(f"{idle}: no workload of the definition uses it, so nothing would hold it")
        if state == "patched":
            self._each(groups, self._patch)
            return
        if self.params["validate"]:
            self._beectl("apply", "-f", "-", "--dry-run=client", stdin=self.documents)
        if not one_by_one:
            if self.documents:
                self._apply(self.documents)
        else:
            self._each(groups, self._apply if self.params["apply"] else self._apply_or_patch)

    def _each(self, groups: list[list[manifests.Manifest]], do: t.Callable[[list[manifests.Manifest]], None]) -> None:
        """Do something with each workload; with `continue_on_error` with all of them, whatever becomes of one."""
        failed = []
        for group in groups:
            before = len(self.results)
            try:
                do(group)
            except BeectlError as error:
                self._failed(group[0], self.results[before:], error)
                if not self.params["continue_on_error"]:
                    raise
                failed.append(f"{manifests.subject(group[0])}: {error.message}")
        if failed:
            raise BeectlError(f"{len(failed)} of {len(groups)} workloads failed:\n" + "\n".join(failed))

    def _failed(self, document: manifests.Manifest, results: list[Facts], error: BeectlError) -> None:
        """Note why a workload failed, with what was noted of it already: others may have its name elsewhere."""
        if results:
            results[0]["error"] = error.told
            return
        metadata = document["metadata"]
        named = {"kind": document.get("kind"), "namespace": metadata.get("namespace"), "name": metadata.get("name")}
        self.results.append({**named, "method": "none", "changed": False, "error": error.told})

    def _beectl(self, *words: str, stdin: t.Any = None, waiting: float = 0) -> Facts:
        """Run beectl with documents, and take up what it did, also when it fails half way."""
        text = "\n---\n".join(json.dumps(document) for document in stdin) if isinstance(stdin, list) else stdin
        try:
            facts = self.beectl.json(*words, stdin=text, waiting=waiting)
        except BeectlError as error:
            self._take(error.facts)
            raise
        self._take(facts)
        if not self._condition:  # how it stands when it has that is looked at then
            for told in facts.get("results", []):
                check_standing(told)
        return facts

    def _take(self, facts: Facts) -> None:
        for told in facts.get("results", []):
            if told["action"] not in METHODS:
                continue  # what was only checked
            result = {name: told[name] for name in ("kind", "namespace", "name", "uid", "changed")}
            result["method"] = METHODS[told["action"]]
            result["result"] = told.get("object", {})
            result["diff"] = told.get("diff", "")
            result["placement"] = told.get("placement", [])
            result["replicas"] = told.get("replicas", 0)
            result["replicas_ready"] = told.get(
                "readyReplicas", sum(not each["predicted"] for each in told.get("placement", []))
            )
            for name in ("waiting", "message"):
                if told.get(name):
                    result[name] = told[name]
            self.results.append(result)

    @property
    def _condition(self) -> Facts | None:
        """What this module waits for itself."""
        looking = self.params["wait"] and self.params["state"] != "absent" and not self.check
        return self.params["wait_condition"] if looking else None

    @property
    def _waiting(self) -> tuple[str, ...]:
        """What beectl is told of waiting."""
        if not self.params["wait"] or self._condition or self.check:
            return ()
        return ("--wait", "--timeout", seconds(self.params["wait_timeout"]))

    def _apply(self, documents: list[manifests.Manifest]) -> None:
        trying = ("--dry-run=server",) if self.check else ()
        force = ("--force",) if self.params["force"] else ()
        waiting = self._waiting or (("--timeout", seconds(self.params["wait_timeout"])) if force else ())
        words = ("apply", "-f", "-", *trying, *force, *waiting)
        before = len(self.results)
        # beectl waits for one workload after the other.
        spans = (bool(self._waiting) + bool(force)) * len(manifests.groups(documents))
        self._beectl(*words, stdin=documents, waiting=spans * self.params["wait_timeout"])
        self._wait_for_condition(self.results[before:])

    def _apply_or_patch(self, group: list[manifests.Manifest]) -> None:
        if self._live(group[0]):
            self._patch(group)
        else:
            self._apply(group)

    def _patch(self, group: list[manifests.Manifest]) -> None:
        document = group[0]
        if not document["metadata"].get("name") or document.get("kind") not in manifests.WORKLOADS:
            raise BeectlError(
                f"{manifests.subject(document)} cannot be patched: name a Deployment, a StatefulSet or a Pod",
                "invalid",
                2,
            )
        namespace = document["metadata"].get("namespace")
        if self.params["state"] == "patched" and not self._live(document):
            warn(self.module, f"{manifests.subject(document)} is not declared, so there is nothing to patch")
            return
        kind = {"strategic-merge": "strategic", "merge": "merge"}[self.params["merge_type"]]
        words = ("patch", manifests.target(document), "--type", kind, "--patch-file", "-")
        trying = ("--dry-run=server",) if self.check else ()
        scope = ("-n", namespace) if namespace else ()
        before = len(self.results)
        self._beectl(
            *scope, *words, *trying, *self._waiting, stdin=json.dumps(document), waiting=self.params["wait_timeout"]
        )
        self._wait_for_condition(self.results[before:])

    def _live(self, document: manifests.Manifest) -> list[Facts]:
        metadata = document["metadata"]
        resource = str(document.get("kind")).lower()
        return self.beectl.get(resource, str(metadata.get("name")), namespace=metadata.get("namespace"))

    def _wait_for_condition(self, results: list[Facts]) -> None:
        condition = self._condition
        for result in results if condition else ():
            wait_for_condition(self.beectl, result, condition, self.params["wait_timeout"], self.params["wait_sleep"])

    def _delete(self) -> None:
        named = self._doomed()
        conditions = (self.params["delete_options"] or {}).get("preconditions") or {}
        if conditions and len(named) != 1:
            raise manifests.ManifestError(f"delete_options is of one workload, {len(named)} are meant: name it alone")
        only: list[str] = []
        for key, option in (("uid", "--uid"), ("resource_version", "--resource-version")):
            if conditions.get(key):
                only += [option, conditions[key]]
        self._each([[document] for document in named], lambda group: self._delete_one(group[0], only, conditions))

    def _doomed(self) -> list[manifests.Manifest]:
        """What is to be deleted."""
        kind, name, namespace = (self.params[option] for option in ("kind", "name", "namespace"))
        if self.params["resource_definition"]:
            found = [group[0] for group in manifests.groups(self.documents)]
            if not found and not self.params["label_selectors"]:
                raise manifests.ManifestError("the definition has no workload: ConfigMaps and Secrets go with theirs")
            return found
        if kind and name:
            return [{"kind": kind, "metadata": {"name": name, "namespace": namespace}}]
        if kind and self.params["label_selectors"]:
            resource = {"Pod": "workloads"}.get(kind, kind.lower())
            shapes = self.beectl.get(resource, "-l", ",".join(self.params["label_selectors"]), namespace=namespace)
            return [shape for shape in shapes if shape["kind"] == kind]
        raise manifests.ManifestError("state is absent: give kind and name, kind and label_selectors, or a definition")

    def _delete_one(self, document: manifests.Manifest, only: list[str], conditions: Facts) -> None:
        metadata = document["metadata"]
        result: Facts = {
            "kind": document.get("kind"),
            "name": metadata.get("name"),
            "namespace": metadata.get("namespace"),
        }
        result.update(method="delete", changed=True, result={}, diff="", placement=[], replicas=0, replicas_ready=0)
        live = self._live(document) if self.check or self.module._diff else []
        if live:
            result["diff"] = f"--- LIVE/{manifests.subject(live[0])}\n+++ (deleted)\n"
        if self.check:
            for key, field in (("uid", "uid"), ("resource_version", "resourceVersion")):
                if live and conditions.get(key) and live[0]["metadata"].get(field) != conditions[key]:
                    raise BeectlError(
                        f"{manifests.subject(live[0])} is not what was to be deleted: it has another {field}"
                    )
            result["changed"] = bool(live)
            if not live:
                result["method"] = "none"
            self.results.append(result)
            return
        namespace = metadata.get("namespace")
        scope = ("-n", namespace) if namespace else ()
        target = manifests.target(document)
        words = (*scope, "delete", target, "--ignore-not-found", *only, *self._waiting)
        try:
            facts = self.beectl.json(*words, waiting=self.params["wait_timeout"])
        except BeectlError as error:
            if error.facts.get("results"):
                self.results.append(result)  # it is deleted, and has not ended in time
            raise
        if not facts.get("results"):
            result.update(changed=False, method="none", diff="")
        for told in facts.get("results", [])[:1]:
            result.update(namespace=told["namespace"], uid=told["uid"])
        self.results.append(result)

    def answer(self, duration: float) -> Facts:
        """What the module returns."""
        methods = {result["method"] for result in self.results if result["changed"]} or {"none"}
        single = self.results[0] if len(self.results) == 1 else {}
        return {
            "changed": any(result["changed"] for result in self.results),
            "result": single.get("result", {}),
            "results": self.results,
            "method": methods.pop() if len(methods) == 1 else "several",
            "placement": single.get("placement", []),
            "replicas_ready": sum(result.get("replicas_ready", 0) for result in self.results),
            "diff": {"prepared": "".join(result.get("diff", "") for result in self.results)},
            "duration": round(duration, 3),
        }
