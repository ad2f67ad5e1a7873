"""StatefulSets and leases on the command line."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from beemesh_node.protocol.messages import LeaseQuery, LeaseState, SlotLease

DB = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
        - name: main
          image: localhost/db:1
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        resources: {requests: {storage: 1Gi}}
"""


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "db.yml"
    path.write_text(DB)
    return path


def records(mesh, name="db"):
    fake = next(iter(mesh.fakes.values()))
    found = [holding.attested.record for holding in fake.registry if holding.attested.record.name == name]
    return sorted(found, key=lambda record: (record.generation, record.sequence))


def voting(mesh, monkeypatch, silent=(), **changes: Any):
    """Have machines answer as voters: db-0 on m1, held with a term of 3; db-1 by nobody."""
    asked = mesh.ask

    async def ask(machine, payload, reply, *, timeout):
        fake = mesh.fakes[machine]
        if not isinstance(payload, LeaseQuery) or fake.name in silent:
            return await asked(machine, payload, reply, timeout=timeout)
        (record, *_) = [each for each in records(mesh) if each.uid == payload.uid]
        holder = mesh.named("m1").machine
        state = {"m1": 8000, "m2": 7000, "m3": 0}[fake.name]
        first = SlotLease(0, 3, holder, holder if state else "", "pod", state)
        return replace(LeaseState(0, record.voters, (first, SlotLease(1, 1, "", "", "", 0))), **changes)

    monkeypatch.setattr(mesh, "ask", ask)
    for name in silent:
        mesh.named(name).reachable = False


def test_a_stateful_set_names_its_voters_and_is_shown_as_kubernetes_does(beectl, mesh, db):
    assert beectl("apply", "-f", db).stdout == "statefulset.apps/db created\n"
    (record,) = records(mesh)
    assert sorted(record.voters) == sorted(mesh.fakes)
    assert beectl("apply", "-f", db).stdout == "statefulset.apps/db unchanged\n"
    shown = beectl.json("get", "sts", "db")
    assert (shown["kind"], shown["spec"]["replicas"], shown["status"]["replicas"]) == ("StatefulSet", 2, 0)
    assert shown["status"]["updateRevision"] == f"db-{record.revisions[-1].template_hash}"
    assert "db" in beectl("get", "statefulsets").stdout
    assert "StatefulSet" in beectl("get", "workloads").stdout
    assert "scaled" in beectl("scale", "statefulset/db", "--replicas", "3").stdout
    assert "restarted" in beectl("rollout", "restart", "sts/db").stdout
    assert records(mesh)[0].voters == record.voters


def test_what_a_stateful_set_cannot_change_is_refused(beectl, mesh, db, hello):
    beectl("apply", "-f", db)
    for field, value in (("podManagementPolicy", "Parallel"), ("serviceName", "other")):
        changed = yaml.safe_load(DB)
        changed["spec"][field] = value
        db.write_text(yaml.safe_dump(changed))
        assert f"spec.{field} of a StatefulSet cannot change" in beectl("apply", "-f", db, code=2).stderr
    beectl("apply", "-f", hello)
    text = hello.read_text()
    hello.write_text(text.replace("  replicas: 2\n", "  replicas: 2\n  strategy: {type: Recreate}\n"))
    assert "cannot change between RollingUpdate and Recreate" in beectl("apply", "-f", hello, code=2).stderr


def test_lease_shows_what_most_voters_say(beectl, mesh, db, monkeypatch):
    beectl("apply", "-f", db)
    voting(mesh, monkeypatch)
    text = beectl("lease", "statefulset/db").stdout
    assert "2 are needed" in text
    facts = beectl.json("lease", "db")
    first, second = facts["slots"]
    assert (first["holder"], first["term"], first["grantedBy"], first["endsInSeconds"]) == ("m1", 3, 2, 7.0)
    assert first["volumesOn"] == "m1"
    assert second["holder"] == ""
    described = beectl("describe", "statefulset/db").stdout
    for line in (
        r"Leases: +db-0 on m1 \(term 3\)",
        r"Volumes: +db-0 on m1",
        "Update Strategy: +RollingUpdate, OrderedReady",
    ):
        assert re.search(line, described)
    assert [voter["answers"] for voter in facts["voters"]] == [True, True, True]


def test_a_workload_without_leases_says_so(beectl, mesh, hello):
    beectl("apply", "-f", hello)
    assert "needs no lease" in beectl("lease", "deployment/hello", code=2).stderr


def test_a_lease_is_not_broken_while_a_majority_lives(beectl, mesh, db, monkeypatch):
    beectl("apply", "-f", db)
    voting(mesh, monkeypatch, silent=("m2",))
    before = records(mesh)
    refused = beectl("lease", "break", "sts/db", "--dead", "m2", "--confirm", "db", code=1).stderr
    assert "its leases move by themselves" in refused
    assert "it is not dead" in beectl("lease", "break", "sts/db", "--dead", "m1", "--confirm", "db", code=1).stderr
    refused = beectl("lease", "break", "sts/db", "--dead", "nobody", "--confirm", "db", code=2).stderr
    assert "does not vote" in refused
    assert records(mesh) == before


def test_breaking_declares_anew_with_voters_that_live(beectl, mesh, db, monkeypatch):
    beectl("apply", "-f", db)
    voting(mesh, monkeypatch, silent=("m2", "m3"))
    (old,) = records(mesh)
    words = ("lease", "break", "sts/db", "--dead", "m2", "--dead", "m3")
    assert "is not 'db'" in beectl(*words, "--confirm", "other", code=2).stderr
    assert "runs twice from now on" in beectl(*words, input="no\n", code=2).stderr
    assert records(mesh) == [old]
    done = beectl(*words, input="db\n").stdout
    assert "declared anew" in done
    ended, anew = records(mesh)
    assert (ended.uid, ended.deleted) == (old.uid, True)
    assert anew.uid != old.uid
    assert anew.voters == (mesh.named("m1").machine,)
    assert not anew.deleted
