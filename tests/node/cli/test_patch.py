"""`patch`, `apply --force`, conditional `delete`, and what these and `apply` tell programs."""

import json
from dataclasses import replace

import pytest
import yaml

from beemesh_node.cli.errors import ExitCode
from beemesh_node.protocol.messages import Forecast, SlotPlace

SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: swordfish-%s}
---
"""


@pytest.fixture
def live(beectl, mesh, hello):
    """`hello` as it runs, with a Secret."""
    document = yaml.safe_load(hello.read_text())
    container = document["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}]
    hello.write_text(SECRET % "one" + yaml.safe_dump(document))
    mesh.after_commit = lambda fake, declaration: mesh.run_pods(declaration)
    beectl("apply", "-f", hello)
    return hello


def shown(beectl):
    return beectl.json("get", "deployment", "hello")


class TestPatch:
    def test_changes_what_it_says_and_nothing_else(self, beectl, live):
        before = shown(beectl)
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "localhost/web:2"}]}}}}
        facts = beectl.json("patch", "deployment/hello", "-p", json.dumps(patch))
        assert (facts["changed"], facts["results"][0]["action"]) == (True, "patched")
        after = shown(beectl)
        (container,) = after["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "localhost/web:2"
        assert container["env"] == before["spec"]["template"]["spec"]["containers"][0]["env"]
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert beectl("patch", "hello", "-p", json.dumps(patch)).stdout == "deployment.apps/hello unchanged\n"

    def test_reads_yaml_and_files_and_the_other_types(self, beectl, live, tmp_path):
        path = tmp_path / "patch.yml"
        path.write_text("spec:\n  replicas: 3\n")
        beectl("patch", "deploy/hello", "--type", "merge", "--patch-file", path)
        assert shown(beectl)["spec"]["replicas"] == 3
        operations = '[{"op": "replace", "path": "/spec/replicas", "value": 1}]'
        beectl("patch", "deploy/hello", "--type", "json", "--patch-file", "-", input=operations)
        assert shown(beectl)["spec"]["replicas"] == 1

    def test_a_dry_run_changes_nothing(self, beectl, live):
        facts = beectl.json("patch", "deploy/hello", "-p", '{"spec": {"replicas": 3}}', "--dry-run=server")
        assert facts["changed"]
        assert "+  replicas: 3" in facts["results"][0]["diff"]
        assert shown(beectl)["spec"]["replicas"] == 2

    @pytest.mark.parametrize(
        ("patch", "says"),
        [
            ('{"metadata": {"name": "other"}}', "cannot change kind, namespace or name"),
            ('{"metadata": {"resourceVersion": "7"}}', "has been changed since"),
            ('{"metadata": {"uid": "nope"}}', "made anew since"),
            ('{"spec": {"replicas": "two"}}', "spec.replicas"),
            ('{"spec": {"nonsense": 1}}', "nonsense"),
            ("[1]", "mapping"),
            ("a: 1\n---\nb: 2\n", "give one"),
            ("", "no manifest"),
        ],
    )
    def test_what_cannot_be_is_refused(self, beectl, live, patch, says):
        assert says in beectl("patch", "deploy/hello", "-p", patch, code=ExitCode.INVALID).stderr
        assert shown(beectl)["metadata"]["resourceVersion"] == "1"

    def test_wrong_usage(self, beectl, live):
        beectl("patch", "deploy/hello", code=ExitCode.INVALID)
        beectl("patch", "deploy/hello", "-p", "{}", "--patch-file", "x", code=ExitCode.INVALID)
        beectl("patch", "machine/m1", "-p", "{}", code=ExitCode.INVALID)
        beectl("patch", "deploy/nobody", "-p", "{}", code=ExitCode.FAILURE)


class TestForce:
    def test_what_cannot_change_is_declared_anew(self, beectl, live):
        before = shown(beectl)
        live.write_text(
            live.read_text().replace("spec:\n  replicas", "spec:\n  strategy: {type: Recreate}\n  replicas")
        )
        assert "cannot change" in beectl("apply", "-f", live, code=ExitCode.INVALID).stderr
        tried = beectl.json("apply", "-f", live, "--force", "--dry-run=server")
        assert tried["results"][0]["action"] == "replaced"
        assert shown(beectl)["metadata"]["uid"] == before["metadata"]["uid"]
        done = beectl.json("apply", "-f", live, "--force", "--timeout", "5s")
        assert done["results"][0]["action"] == "replaced"
        after = shown(beectl)
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert after["spec"]["strategy"]["type"] == "Recreate"
        assert not beectl.json("apply", "-f", live, "--force")["changed"]

    def test_what_can_change_keeps_its_uid(self, beectl, live):
        before = shown(beectl)
        live.write_text(live.read_text().replace("web:1", "web:2"))
        assert beectl.json("apply", "-f", live, "--force")["results"][0]["action"] == "configured"
        assert shown(beectl)["metadata"]["uid"] == before["metadata"]["uid"]


class TestDelete:
    def test_only_what_was_meant(self, beectl, live):
        uid = shown(beectl)["metadata"]["uid"]
        assert uid in beectl("delete", "deploy/hello", "--uid", "other", code=ExitCode.FAILURE).stderr
        beectl("delete", "deploy/hello", "--resource-version", "9", code=ExitCode.FAILURE)
        beectl("delete", "deploy/hello", "deploy/other", "--uid", uid, code=ExitCode.INVALID)
        beectl("delete", "deploy/hello", "--uid", uid, "--resource-version", "1")


def _crashing(pod):
    (container,) = pod.containers
    waiting = replace(container, reason="CrashLoopBackOff", message="back-off 10s", ready=False)
    return replace(pod, containers=(waiting,))


class TestFacts:
    def test_tell_where_replicas_run_and_how_many_are_ready(self, beectl, mesh, live):
        facts = beectl.json("apply", "-f", live, "--wait", "--timeout", "5s")
        (result,) = facts["results"]
        assert (result["action"], result["replicas"], result["readyReplicas"]) == ("unchanged", 2, 2)
        assert [(each["slot"], each["ready"], each["predicted"]) for each in result["placement"]] == [
            (0, True, False),
            (1, True, False),
        ]
        assert {each["machine"] for each in result["placement"]} <= {"m1", "m2", "m3"}
        assert result["object"]["status"]["readyReplicas"] == 2
        assert result["diff"] == ""

    def test_what_is_ending_is_no_replica_any_more(self, beectl, mesh, live):
        mesh.after_commit = None
        facts = beectl.json("patch", "deploy/hello", "-p", '{"spec": {"replicas": 1}}')
        (result,) = facts["results"]
        assert [each["slot"] for each in result["placement"]] == [0]
        assert result["readyReplicas"] == 1

    def test_tell_of_a_failed_wait_what_is_there(self, beectl, mesh, live):
        mesh.after_commit = lambda fake, declaration: mesh.run_pods(declaration, ready=False)
        live.write_text(live.read_text().replace("web:1", "web:2"))
        said = beectl("apply", "-f", live, "--wait", "--timeout", "0.3s", "-o", "json", code=ExitCode.TIMEOUT)
        (result,) = json.loads(said.stdout)["results"]
        assert (result["changed"], result["readyReplicas"]) == (True, 0)
        assert "0 of 2 updated replicas" in said.stderr

    def test_tell_what_stands_as_failed(self, beectl, mesh, live):
        def result(*words):
            return beectl.json("apply", "-f", live, *words)["results"][0]

        assert "failure" not in result()
        mesh.after_commit = lambda fake, declaration: mesh.run_pods(declaration, ready=False)
        live.write_text(live.read_text().replace("web:1", "web:2"))
        assert "failure" not in result(), "what is young may still come"
        assert "failure" not in result()
        for fake in mesh.fakes.values():
            fake.pods = [_crashing(pod) for pod in fake.pods]
        for words in ((), ("--dry-run=server",)):
            assert "CrashLoopBackOff: back-off 10s" in result(*words)["failure"]
        for fake in mesh.fakes.values():
            fake.pods = []
            fake.progress_failed = True
        assert "passed its progress deadline: 0 out of 2 new replicas" in result()["failure"]

    def test_show_the_difference_without_what_a_secret_holds(self, beectl, live):
        live.write_text(live.read_text().replace("swordfish-one", "swordfish-two"))
        said = beectl("apply", "-f", live, "-o", "json", "--dry-run=server").stdout
        assert "swordfish" not in said
        assert "*** (after)" in json.loads(said)["results"][0]["diff"]
        assert "swordfish" not in beectl("apply", "-f", live, "-o", "json").stdout

    def test_a_dry_run_foretells_the_placement(self, beectl, mesh, hello):
        machines = {fake.name: fake.machine for fake in mesh.fakes.values()}
        coordinator = next(iter(mesh.fakes.values()))
        places = (SlotPlace(0, machines["m2"]), SlotPlace(1, machines["m1"], stays=True))
        coordinator.forecast = Forecast(places, 1, "0/3 machines can take it: 3 lack memory")
        facts = beectl.json("apply", "-f", hello, "--dry-run=server")
        (result,) = facts["results"]
        assert result["placement"] == [
            {"slot": 0, "machine": "m2", "predicted": True},
            {"slot": 1, "machine": "m1", "predicted": False},
        ]
        assert (result["waiting"], result["message"]) == (1, "0/3 machines can take it: 3 lack memory")
        assert beectl("apply", "-f", hello, "--dry-run=server").stdout == (
            "deployment.apps/hello created (server dry run)\n"
            "  would start on m2\n"
            "  1 would wait: 0/3 machines can take it: 3 lack memory\n"
        )
