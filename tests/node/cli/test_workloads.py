"""Declaring, changing and deleting workloads through `beectl`, against the daemon's own rules for records."""

import pytest
import yaml

from beemesh_node.cli.errors import ExitCode
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.workload_client import WorkloadClient
from beemesh_node.messaging.errors import ConnectionLost
from beemesh_node.protocol.messages import Commit, ListRequest

CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Pod
metadata: {name: job}
spec:
  containers:
    - name: main
      image: localhost/job
      env:
        - name: COLOUR
          valueFrom: {configMapKeyRef: {name: settings, key: colour}}
"""


def held(mesh, name="hello"):
    """What the machines hold under a name: uid -> records, one a machine."""
    found = {}
    for fake in mesh.fakes.values():
        for holding in fake.registry:
            if holding.attested.record.name == name:
                found.setdefault(holding.attested.record.uid, []).append(holding.attested.record)
    return found


def newest(mesh, name="hello"):
    ((record, *others),) = held(mesh, name).values()
    assert all(other == record for other in others)
    return record


def edit(path, **changes):
    document = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        if key == "image":
            document["spec"]["template"]["spec"]["containers"][0]["image"] = value
        elif value is None:
            document["spec"].pop(key, None)
        else:
            document["spec"][key] = value
    path.write_text(yaml.safe_dump(document))


def join_as_operator(beectl, tmp_path, namespace):
    """Return the context of an operator who may get and apply in one namespace, and nothing else."""
    directory = tmp_path / namespace
    mesh_id = beectl.json("mesh", "info")["mesh_id"]
    beectl("keys", "request", "--dir", directory, "--mesh", mesh_id, "--out", tmp_path / "r")
    rights = ("--name", "ci", "--namespace", namespace, "--verb", "get", "--verb", "apply")
    beectl("cert", "operator", "--request", tmp_path / "r", *rights, "--out", tmp_path / "b")
    beectl("mesh", "join", "--dir", directory, "--bundle", tmp_path / "b")
    return directory


class TestApply:
    def test_creates_then_leaves_alone_then_configures(self, beectl, mesh, hello):
        assert beectl("apply", "-f", hello).stdout == "deployment.apps/hello created\n"
        assert beectl("apply", "-f", hello).stdout == "deployment.apps/hello unchanged\n"
        edit(hello, image="localhost/web:2")
        assert beectl("apply", "-f", hello).stdout == "deployment.apps/hello configured\n"
        record = newest(mesh)
        assert (record.sequence, [each.number for each in record.revisions]) == (2, [1, 2])
        assert len(held(mesh)[record.uid]) == 3

    def test_facts_tell_programs_what_changed(self, beectl, mesh, hello):
        first, second = beectl.json("apply", "-f", hello), beectl.json("apply", "-f", hello)
        assert (first["changed"], second["changed"]) == (True, False)
        assert first["results"][0]["object"]["kind"] == "Deployment"
        assert first["results"][0]["object"]["metadata"]["uid"] == newest(mesh).uid
        assert (first["results"][0]["action"], second["results"][0]["action"]) == ("created", "unchanged")

    def test_the_form_of_the_manifest_does_not_matter(self, beectl, mesh, hello, tmp_path):
        beectl("apply", "-f", hello)
        (tmp_path / "hello.json").write_text(yaml.safe_dump(yaml.safe_load(hello.read_text()), default_flow_style=True))
        assert "unchanged" in beectl("apply", "-f", tmp_path / "hello.json").stdout

    def test_no_machine_is_sent_anything_readable_without_the_key(self, beectl, mesh, hello):
        beectl("apply", "-f", hello)
        commits = [payload for _, payload in mesh.asked if isinstance(payload, Commit)]
        assert len(commits) == 3
        for commit in commits:
            assert b"localhost/web" not in commit.record
            assert all(b"localhost/web" not in block.block for block in commit.blocks)

    def test_standard_input_and_directories(self, beectl, mesh, hello, tmp_path):
        (tmp_path / "all").mkdir()
        (tmp_path / "all" / "job.yaml").write_text(CONFIG)
        (tmp_path / "all" / "notes.txt").write_text("not a manifest")
        hello.rename(tmp_path / "all" / "hello.yml")
        assert beectl("apply", "-f", tmp_path / "all").stdout == "deployment.apps/hello created\npod/job created\n"
        assert beectl("apply", "-f", "-", input=CONFIG).stdout == "pod/job unchanged\n"

    def test_a_bad_document_stops_everything(self, beectl, mesh, hello):
        bad = hello.read_text() + "---\n" + hello.read_text().replace("image:", "imagee:").replace("hello", "other")
        hello.write_text(bad)
        refused = beectl("apply", "-f", hello, code=ExitCode.INVALID)
        assert "imagee" in refused.stderr
        assert "spec.template.spec.containers[0]" in refused.stderr
        assert held(mesh) == {}
        assert mesh.asked == []

    @pytest.mark.parametrize("content", ["", "# nothing\n", "a: [", "just text", "kind: Nonsense\napiVersion: v9\n"])
    def test_what_is_no_manifest_is_refused_by_name(self, beectl, mesh, tmp_path, content):
        (tmp_path / "x.yml").write_text(content)
        assert "x.yml" in beectl("apply", "-f", tmp_path / "x.yml", code=ExitCode.INVALID).stderr

    def test_files_that_cannot_be_read_are_named(self, beectl, mesh, tmp_path):
        (tmp_path / "empty").mkdir()
        large = tmp_path / "large.yml"
        with large.open("wb") as file:
            file.truncate(100 << 20)
        for name in (tmp_path / "missing.yml", tmp_path / "empty", large):
            assert str(name) in beectl("apply", "-f", name, code=ExitCode.INVALID).stderr
        beectl("apply", "-f", "-", "-f", "-", code=ExitCode.INVALID)

    def test_a_dry_run_changes_nothing(self, beectl, mesh, hello):
        assert beectl("apply", "-f", hello, "--dry-run=client").stdout == "deployment.apps/hello valid (dry run)\n"
        assert mesh.asked == []
        server = beectl("apply", "-f", hello, "--dry-run=server")
        assert server.stdout == "deployment.apps/hello created (server dry run)\n"
        assert held(mesh) == {}

    def test_a_dry_run_of_the_client_needs_no_mesh(self, beectl, hello):
        assert "valid" in beectl("apply", "-f", hello, "--dry-run=client").stdout

    def test_replicas_that_a_manifest_does_not_name_stay(self, beectl, mesh, hello):
        beectl("apply", "-f", hello)
        beectl("scale", "deployment/hello", "--replicas", "5")
        edit(hello, replicas=None)
        assert "unchanged" in beectl("apply", "-f", hello).stdout
        edit(hello, replicas=2)
        assert "configured" in beectl("apply", "-f", hello).stdout
        assert newest(mesh).sequence == 3

    def test_a_namespace_on_the_command_line_must_be_the_manifests(self, beectl, mesh, hello):
        beectl("apply", "-f", hello, "-n", "shop")
        assert newest(mesh).namespace == "shop"
        document = yaml.safe_load(hello.read_text())
        document["metadata"]["namespace"] = "default"
        hello.write_text(yaml.safe_dump(document))
        beectl("apply", "-f", hello, "-n", "shop", code=ExitCode.INVALID)

    def test_revisions_are_kept_up_to_the_limit(self, beectl, mesh, hello):
        for number in range(5):
            edit(hello, image=f"localhost/web:{number}", revisionHistoryLimit=2)
            beectl("apply", "-f", hello)
        assert [each.number for each in newest(mesh).revisions] == [3, 4, 5]

    def test_a_manifest_exported_earlier_is_refused_after_a_change(self, beectl, mesh, hello):
        beectl("apply", "-f", hello)
        exported = beectl("get", "deployment", "hello", "-o", "yaml").stdout
        hello.write_text(exported)
        assert "unchanged" in beectl("apply", "-f", hello).stdout
        beectl("scale", "deploy/hello", "--replicas", "3")
        refused = beectl("apply", "-f", hello, code=ExitCode.INVALID)
        assert "resourceVersion" in refused.stderr


class TestCommit:
    def test_a_majority_is_enough(self, beectl, mesh, hello):
        mesh.named("m3").reachable = False
        assert "created" in beectl("apply", "-f", hello).stdout

    def test_all_that_can_be_reached_are_enough(self, beectl, mesh, hello):
        mesh.named("m2").reachable = mesh.named("m3").reachable = False
        assert "created" in beectl("apply", "-f", hello).stdout
        assert len(held(mesh)[newest(mesh).uid]) == 1

    def test_nobody_is_not_enough(self, beectl, mesh, hello):
        for fake in mesh.fakes.values():
            fake.deaf_to_commits = True
        refused = beectl("apply", "-f", hello, code=ExitCode.FAILURE)
        assert "deployment/hello" in refused.stderr
        assert held(mesh) == {}

    def test_an_operator_without_the_right_is_told_so(self, beectl, mesh, hello, tmp_path):
        shop = join_as_operator(beectl, tmp_path, "shop")
        allowed = beectl("--dir", shop, "apply", "-f", hello)
        refused = beectl("--dir", shop, "apply", "-f", hello, "-n", "other", code=ExitCode.AUTHENTICATION)
        assert "created" in allowed.stdout
        assert "may not apply in namespace other" in refused.stderr
        assert {record.namespace for records in held(mesh).values() for record in records} == {"shop"}

    def test_a_change_made_meanwhile_wins_and_the_loser_hears_of_it(self, beectl, mesh, hello, before_commit):
        beectl("apply", "-f", hello)

        async def meanwhile():
            client = WorkloadClient(Mesh(mesh, mesh.operator, "default"))
            await client.scale(await client.find("default", "Deployment", "hello"), 9)
            await client.restart(await client.find("default", "Deployment", "hello"))

        before_commit(meanwhile)
        edit(hello, image="localhost/web:2")
        lost = beectl("apply", "-f", hello, code=ExitCode.FAILURE)
        assert "deployment/hello was changed by admin meanwhile" in lost.stderr
        assert newest(mesh).sequence == 3

    def test_what_was_deleted_meanwhile_stays_deleted(self, beectl, mesh, hello, before_commit):
        beectl("apply", "-f", hello)

        async def meanwhile():
            await WorkloadClient(Mesh(mesh, mesh.operator, "default")).delete("default", "Deployment", "hello")

        before_commit(meanwhile)
        lost = beectl("scale", "deploy/hello", "--replicas", "3", code=ExitCode.FAILURE)
        assert "was deleted meanwhile" in lost.stderr
        assert newest(mesh).deleted

    def test_a_lost_connection_is_never_followed_by_a_second_change(self, beectl, mesh, hello, before_commit):
        async def cut():
            raise ConnectionLost("m1 is gone")

        before_commit(cut)
        lost = beectl("apply", "-f", hello, code=ExitCode.FAILURE)
        assert "run it again" in lost.stderr
        assert "created" not in lost.stdout
        assert held(mesh) == {}

    def test_a_second_workload_goes_on_when_the_first_may_not_be(self, beectl, mesh, hello, tmp_path):
        shop = join_as_operator(beectl, tmp_path, "shop")
        host = hello.read_text().replace(
            "    spec:\n      containers", "    spec:\n      hostNetwork: true\n      containers"
        )
        hello.write_text(host)
        (tmp_path / "job.yml").write_text(CONFIG)
        both = ("-f", hello, "-f", tmp_path / "job.yml")
        done = beectl("--dir", shop, "apply", *both, code=ExitCode.AUTHENTICATION)
        assert done.stdout == "pod/job created\n"
        assert "hostNetwork" in done.stderr


class TestScaleAndRollout:
    def test_scaling_keeps_the_revision(self, beectl, mesh, hello):
        beectl("apply", "-f", hello)
        before = newest(mesh)
        assert beectl("scale", "deploy", "hello", "--replicas", "4").stdout == "deployment.apps/hello scaled\n"
        after = newest(mesh)
        assert [each.number for each in after.revisions] == [1]
        assert after.revisions[0].template_hash == before.revisions[0].template_hash
        assert after.revisions[0].cid != before.revisions[0].cid
        assert beectl("scale", "deploy/hello", "--replicas", "4").stdout == "deployment.apps/hello unchanged\n"

    def test_undo_goes_back_and_forth(self, beectl, mesh, hello):
        for tag in ("1", "2"):
            edit(hello, image=f"localhost/web:{tag}")
            beectl("apply", "-f", hello)
        beectl("scale", "deploy/hello", "--replicas", "5")
        assert "rolled back" in beectl("rollout", "undo", "deployment/hello").stdout
        shown = beectl.json("get", "deployment", "hello")
        assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "localhost/web:1"
        assert shown["spec"]["replicas"] == 5
        assert [each.number for each in newest(mesh).revisions] == [2, 3]
        assert "rolled back" in beectl("rollout", "undo", "deployment/hello", "--to-revision", "2").stdout
        shown = beectl.json("get", "deployment", "hello")
        assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "localhost/web:2"
        assert [each["revision"] for each in beectl.json("rollout", "history", "deploy/hello")["revisions"]] == [3, 4]

    def test_undo_to_what_is_not_kept_names_what_is(self, beectl, mesh, hello):
        beectl("apply", "-f", hello)
        assert "it has 1" in beectl("rollout", "undo", "deploy/hello", code=ExitCode.INVALID).stderr
        assert "it has 1" in beectl("rollout", "undo", "deploy/hello", "--to-revision", "7", code=2).stderr

    def test_restart_makes_a_new_revision_of_the_same_manifest(self, beectl, mesh, hello):
        beectl("apply", "-f", hello)
        assert "restarted" in beectl("rollout", "restart", "deploy/hello").stdout
        shown = beectl.json("get", "deployment", "hello")
        assert "kubectl.kubernetes.io/restartedAt" in shown["spec"]["template"]["metadata"]["annotations"]
        assert [each.number for each in newest(mesh).revisions] == [1, 2]

    def test_history_shows_a_revision(self, beectl, mesh, hello):
        beectl("apply", "-f", hello)
        assert "localhost/web:1" in beectl("rollout", "history", "deploy/hello", "--revision", "1").stdout
        assert "REVISION" in beectl("rollout", "history", "deploy/hello").stdout
        beectl("rollout", "history", "deploy/hello", "--revision", "3", code=ExitCode.INVALID)

    def test_a_pod_has_neither_replicas_nor_rollouts(self, beectl, mesh):
        beectl("apply", "-f", "-", input=CONFIG)
        beectl("scale", "pod/job", "--replicas", "2", code=ExitCode.INVALID)
        beectl("rollout", "restart", "pod/job", code=ExitCode.INVALID)

    def test_what_is_not_there_is_named(self, beectl, mesh):
        assert "deployment/none" in beectl("scale", "deploy/none", "--replicas", "1", code=ExitCode.FAILURE).stderr


class TestWait:
    def test_apply_returns_when_all_replicas_run(self, beectl, mesh, hello):
        mesh.after_commit = lambda _, declaration: mesh.run_pods(declaration)
        assert "created" in beectl("apply", "-f", hello, "--wait", "--timeout", "5s").stdout
        assert "successfully rolled out" in beectl("rollout", "status", "deploy/hello").stdout

    def test_what_does_not_come_is_told_with_its_reason_and_code_4(self, beectl, mesh, hello):
        for fake in mesh.fakes.values():
            fake.message = "0/3 machines can take it: 3 lack memory"
        late = beectl("apply", "-f", hello, "--wait", "--timeout", "300ms", code=ExitCode.TIMEOUT)
        assert "deployment.apps/hello created" in late.stdout
        assert "0 out of 2 new replicas" in late.stderr
        assert "3 lack memory" in late.stderr
        assert "beectl describe deployment/hello" in late.stderr

    def test_a_rollout_that_failed_is_told_at_once(self, beectl, mesh, hello):
        for fake in mesh.fakes.values():
            fake.progress_failed = True
        failed = beectl("apply", "-f", hello, "--wait", "--timeout", "30s", code=ExitCode.FAILURE)
        assert "progress deadline" in failed.stderr

    def test_pods_say_why_they_do_not_start(self, beectl, mesh, hello):
        def broken(_, declaration):
            mesh.run_pods(declaration, ready=False)
            for fake in mesh.fakes.values():
                fake.pods = [replace_reason(pod) for pod in fake.pods]

        mesh.after_commit = broken
        late = beectl("apply", "-f", hello, "--wait", "--timeout", "300ms", code=ExitCode.TIMEOUT)
        assert "ErrImageNeverPull: no such image" in late.stderr

    def test_delete_waits_for_the_last_pod(self, beectl, mesh, hello):
        mesh.after_commit = lambda _, declaration: mesh.run_pods(declaration)
        beectl("apply", "-f", hello)
        assert beectl("delete", "deploy/hello", "--wait", "--timeout", "5s").stdout == "deployment/hello deleted\n"
        mesh.after_commit = lambda _, declaration: None if declaration.deleted else mesh.run_pods(declaration)
        beectl("apply", "-f", hello)
        late = beectl("delete", "deploy/hello", "--wait", "--timeout", "300ms", code=ExitCode.TIMEOUT)
        assert "on m1" in late.stderr

    def test_a_connection_lost_while_waiting_is_made_anew(self, beectl, mesh, hello, monkeypatch):
        mesh.after_commit = lambda _, declaration: mesh.run_pods(declaration)
        beectl("apply", "-f", hello)
        ask, deleted, cuts = mesh.ask, [], []

        def end_pods(_, declaration):
            deleted.append(declaration)
            mesh.run_pods(declaration)

        mesh.after_commit = end_pods

        async def cut_once(machine, payload, reply, *, timeout):
            if deleted and isinstance(payload, ListRequest) and not cuts:
                cuts.append(machine)
                raise ConnectionLost("the connection to m1 was lost before m1 answered; run it again")
            return await ask(machine, payload, reply, timeout=timeout)

        monkeypatch.setattr(mesh, "ask", cut_once)
        told = beectl("delete", "deploy/hello", "--wait", "--timeout", "5s")
        assert "The connection was lost; connecting anew." in told.stderr
        assert told.stdout == "deployment/hello deleted\n"


def replace_reason(pod):
    from dataclasses import replace

    (container,) = pod.containers
    broken = replace(container, reason="ErrImageNeverPull", message="no such image", ready=False)
    return replace(pod, containers=(broken,))


class TestDelete:
    def test_leaves_a_tombstone_and_a_new_apply_is_another_declaration(self, beectl, mesh, hello):
        beectl("apply", "-f", hello)
        first = newest(mesh)
        assert beectl("delete", "deployment", "hello").stdout == "deployment/hello deleted\n"
        assert newest(mesh).deleted
        beectl("apply", "-f", hello)
        records = held(mesh)
        second = next(record for uid, (record, *_) in records.items() if uid != first.uid)
        assert (len(records), second.generation, second.sequence) == (2, 2, 1)

    def test_ends_every_declaration_under_the_name(self, beectl, mesh, hello):
        for lonely, others in (("m1", ("m2", "m3")), ("m2", ("m1", "m3"))):
            mesh.named(lonely).reachable = True
            for other in others:
                mesh.named(other).reachable = False
            beectl("apply", "-f", hello)
        for fake in mesh.fakes.values():
            fake.reachable = True
        assert len(held(mesh)) == 2
        assert len(beectl.json("get", "deployments")["items"]) == 1
        beectl("delete", "-f", hello)
        assert all(record.deleted for records in held(mesh).values() for record in records)

    def test_what_is_not_there_is_a_failure_unless_it_may_be(self, beectl, mesh, hello):
        beectl("delete", "deploy/hello", code=ExitCode.FAILURE)
        assert beectl.json("delete", "deploy/hello", "--ignore-not-found")["changed"] is False

    @pytest.mark.parametrize("words", [[], ["machines", "m1"], ["deployments"], ["events"], ["deploy/a", "-f", "x"]])
    def test_only_workloads_by_name_can_be_deleted(self, beectl, mesh, words):
        beectl("delete", *words, code=ExitCode.INVALID)


class TestDiff:
    def test_nothing_to_change_is_0_and_a_change_is_1(self, beectl, mesh, hello):
        assert "+  name: hello" in beectl("diff", "-f", hello, code=1).stdout
        beectl("apply", "-f", hello)
        assert beectl("diff", "-f", hello).stdout == ""
        edit(hello, image="localhost/web:2")
        shown = beectl("diff", "-f", hello, code=1).stdout
        changed = [line for line in shown.splitlines() if line[:1] in "+-" and "image" in line]
        assert [line.split()[-1] for line in changed] == ["localhost/web:1", "localhost/web:2"]
        assert newest(mesh).sequence == 1

    def test_failures_are_never_1(self, beectl, mesh, hello, tmp_path):
        beectl("diff", "-f", tmp_path / "missing.yml", code=ExitCode.INVALID)
        for fake in mesh.fakes.values():
            fake.forbids = True
        beectl("diff", "-f", hello, code=ExitCode.AUTHENTICATION)

    def test_values_of_secrets_are_masked(self, beectl, mesh):
        manifest = CONFIG.replace("ConfigMap", "Secret").replace("configMapKeyRef", "secretKeyRef")
        manifest = manifest.replace("data: {colour: blue}", "stringData: {colour: blue}")
        beectl("apply", "-f", "-", input=manifest)
        shown = beectl("diff", "-f", "-", input=manifest.replace("blue", "green"), code=1).stdout
        assert "blue" not in shown
        assert "green" not in shown
        assert "***" in shown
