"""What `get`, `describe`, `logs` and `exec` show, put together from what machines say."""

import json
from dataclasses import replace

import pytest
import trio
import yaml

from beemesh_node.cli import keyboard
from beemesh_node.cli.errors import ExitCode
from beemesh_node.cli.output import Format
from beemesh_node.cli.survey import merge_events, merge_pods
from beemesh_node.cli.targets import ResourceType
from beemesh_node.cli.watch import Watch
from beemesh_node.protocol.sealed_stream import FrameKind, StreamFrame
from beemesh_node.workloads.kubernetes import pod as pod_shape

HOSTILE = "\x1b]0;owned\x07\x1b[31mred"


@pytest.fixture
def running(beectl, mesh, hello):
    """`hello` with two replicas that run."""

    def run(fake, declaration):
        mesh.declaration = declaration
        mesh.run_pods(declaration)

    mesh.after_commit = run
    beectl("apply", "-f", hello)
    return mesh


class TestGet:
    def test_machines_as_a_table_and_as_nodes(self, beectl, running):
        running.named("m3").reachable = False
        lines = beectl("get", "machines").stdout.splitlines()
        nodes = {item["metadata"]["name"]: item for item in beectl.json("get", "no")["items"]}
        assert lines[0].split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
        assert [line.split()[:2] for line in lines[1:]] == [["m1", "Ready"], ["m2", "Ready"], ["m3", "NotReady"]]
        assert nodes["m1"]["kind"] == "Node"
        assert nodes["m1"]["status"]["nodeInfo"]["architecture"] == "amd64"

    def test_deployments_and_pods(self, beectl, running):
        (deployment,) = beectl("get", "deploy", "--no-headers").stdout.splitlines()
        assert deployment.split()[:4] == ["hello", "2/2", "2", "2"]
        pods = beectl("get", "po", "-o", "wide", "--no-headers").stdout.splitlines()
        assert [line.split()[1:3] for line in pods] == [["1/1", "Running"], ["1/1", "Running"]]
        assert {line.split()[-1] for line in pods} == {"m1", "m2"}

    def test_workloads_of_every_kind(self, beectl, running):
        pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: job}\nspec: {containers: [{name: web, image: i}]}\n"
        beectl("apply", "-f", "-", input=pod)
        rows = [line.split()[:3] for line in beectl("get", "workloads", "--no-headers").stdout.splitlines()]
        assert rows == [["Deployment", "hello", "2/2"], ["Pod", "job", "1/1"]]

    def test_json_and_yaml_have_kubernetes_shapes(self, beectl, running):
        deployment = beectl.json("get", "deployment", "hello")
        assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
        assert deployment["status"]["readyReplicas"] == 2
        assert yaml.safe_load(beectl("get", "deployment/hello", "-o", "yaml").stdout) == deployment
        pods = beectl.json("get", "pods")
        assert (pods["apiVersion"], pods["kind"]) == ("v1", "List")
        assert {item["kind"] for item in pods["items"]} == {"Pod"}
        assert pods["items"][0]["metadata"]["labels"]["app"] == "hello"
        assert pods["items"][0]["metadata"]["ownerReferences"][0]["name"] == "hello"

    def test_names_and_selectors(self, beectl, running):
        assert beectl("get", "deploy", "-o", "name").stdout == "deployment.apps/hello\n"
        assert len(beectl("get", "pods", "-l", "app=hello", "-o", "name").stdout.splitlines()) == 2
        assert beectl("get", "pods", "-l", "app!=hello", "-o", "name").stdout == ""
        beectl("get", "pods", "-l", "app==,=", code=ExitCode.INVALID)

    def test_namespaces(self, beectl, running, hello):
        beectl("apply", "-f", hello, "-n", "shop")
        assert len(beectl.json("get", "deploy")["items"]) == 1
        everywhere = beectl("get", "deploy", "-A", "--no-headers").stdout.splitlines()
        assert [line.split()[:2] for line in everywhere] == [["default", "hello"], ["shop", "hello"]]

    def test_several_types_at_once(self, beectl, running):
        assert {item["kind"] for item in beectl.json("get", "pods,deploy")["items"]} == {"Pod", "Deployment"}
        text = beectl("get", "machines,deploy").stdout
        assert "\n\nNAME" in text

    def test_nothing_and_what_is_not_there(self, beectl, mesh):
        nothing = beectl("get", "pods")
        assert (nothing.stdout, "No pods found" in nothing.stderr) == ("", True)
        assert beectl.json("get", "pods")["items"] == []
        assert "pod/none" in beectl("get", "pod", "none", code=ExitCode.FAILURE).stderr

    def test_events_once_however_many_tell_them(self, beectl, running):
        event = running.event(running.declaration, "FailedScheduling", "0/3 machines can take it")
        for fake in running.fakes.values():
            fake.events = [replace(event, count=3 if fake.name == "m2" else 1)]
        (row,) = beectl("get", "events", "--no-headers").stdout.splitlines()
        assert "FailedScheduling" in row
        assert "deployment/hello" in row
        assert beectl.json("get", "events")["items"][0]["count"] == 3

    def test_what_comes_from_machines_cannot_drive_the_terminal(self, beectl, running):
        running.named("m1").events = [running.event(running.declaration, "Bad", HOSTILE)]
        for fake in running.fakes.values():
            fake.message = HOSTILE
        shown = beectl("get", "events").stdout + beectl("describe", "deploy", "hello").stdout
        assert "red" in shown
        assert "\x1b" not in shown

    def test_a_forged_record_is_as_if_it_had_not_been_said(self, beectl, running):
        (holding,) = running.named("m1").registry
        raw = bytearray(holding.attested.raw)
        raw[-1] ^= 1
        forged = replace(holding.attested, raw=bytes(raw))
        registry = running.named("m1").registry
        registry._held[holding.attested.record.uid] = replace(holding, attested=forged)
        shown = beectl("get", "deploy", "-o", "name")
        assert shown.stdout == "deployment.apps/hello\n"
        assert "no answer from m1 (showed a record that is not genuine" in shown.stderr

    def test_only_known_types(self, beectl, mesh):
        assert "carrots" in beectl("get", "carrots", code=ExitCode.INVALID).stderr
        beectl("get", "pods,deploy", "-w", code=ExitCode.INVALID)


class TestMerging:
    def test_the_newest_report_of_a_claim_counts_and_the_end_wins(self, running):
        old = running.named("m1").pods[0]
        new = replace(old, version=2, phase="Failed")
        assert merge_pods([new, old]) == merge_pods([old, new]) == (new,)
        assert merge_pods([new, replace(new, gone=True), old]) == ()
        another = replace(old, claim=replace(old.claim, revision="another"), pod_name="another")
        assert {each.pod_name for each in merge_pods([new, another])} == {new.pod_name, "another"}, "of a rollout"

    def test_events_keep_first_and_last_time(self, running):
        event = running.event(running.declaration, "Started", "x")
        earlier = replace(event, first_at=event.first_at - 10, last_at=event.last_at - 10, count=5)
        (merged,) = merge_events([event, earlier])
        assert (merged.first_at, merged.last_at, merged.count) == (earlier.first_at, event.last_at, 5)


class TestDescribe:
    def test_a_deployment_with_its_pods_reasons_and_events(self, beectl, running):
        running.named("m1").events = [running.event(running.declaration, "FailedScheduling", "2 machines lack memory")]
        for fake in running.fakes.values():
            fake.message = "2 machines lack memory, 1 is cordoned"
        text = beectl("describe", "deployment", "hello").stdout
        for expected in (
            "2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
            "2 machines lack memory, 1 is cordoned",
            "FailedScheduling",
            "localhost/web:1",
            "app=hello",
            "Guardians:",
            "admin (version 1)",
        ):
            assert expected in text
        assert beectl("describe", "workload", "hello").stdout == text

    def test_a_pod_with_the_cause_of_its_trouble(self, beectl, running):
        pod = running.named("m1").pods[0]
        broken = replace(pod.containers[0], reason="ErrImageNeverPull", message="image is not on m1", ready=False)
        running.named("m1").pods = [
            replace(pod, phase="Pending", ready=False, containers=(replace(broken, state="waiting"),))
        ]
        text = beectl("describe", "pod", pod.pod_name).stdout
        assert "ErrImageNeverPull" in text
        assert "image is not on m1" in text
        assert "Node:" in text
        assert "m1" in text
        assert "image is not on m1" in beectl("describe", "deploy/hello").stdout

    def test_a_machine_with_its_pods(self, beectl, running):
        text = beectl("describe", "machine", "m1").stdout
        assert "cpu 100m, memory 64Mi" in text
        assert running.named("m1").pods[0].pod_name in text
        assert "m2" not in text

    def test_secrets_are_named_and_not_shown(self, beectl, mesh):
        manifest = (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n---\n"
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: web\n    image: i\n"
            "    env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: s, key: password}}}]\n"
        )
        mesh.after_commit = lambda _, declaration: mesh.run_pods(declaration)
        beectl("apply", "-f", "-", input=manifest)
        shown = beectl("describe", "pod", "p").stdout + beectl("get", "pods", "-o", "yaml").stdout
        shown += beectl("get", "workloads", "-o", "json").stdout
        assert "key password of secret s" in shown
        assert "hunter2" not in shown

    def test_what_is_not_there(self, beectl, mesh):
        beectl("describe", "deployment", "none", code=ExitCode.FAILURE)
        beectl("describe", "events", code=ExitCode.INVALID)


class Duplex:
    """The far end of a stream, scripted."""

    def __init__(self, *frames):
        self.frames = list(frames)
        self.sent = []

    async def send(self, kind, data):
        self.sent.append((kind, data))

    async def receive(self):
        return self.frames.pop(0)


END = (FrameKind.END, b"")


@pytest.fixture
def written(monkeypatch):
    """What reaches standard output and error."""
    found = {keyboard.STDOUT: b"", keyboard.STDERR: b""}

    async def write(descriptor, data):
        found[descriptor] += data

    monkeypatch.setattr(keyboard, "write", write)
    return found


class TestStreams:
    def test_logs_of_a_workload_are_those_of_one_of_its_pods(self, beectl, running, written):
        running.duplex = Duplex((FrameKind.STDOUT, b"hello\n"), (FrameKind.STDERR, b"oops\n"), END)
        result = beectl("logs", "deployment/hello", "--tail", "5", "--since", "10s", "--timestamps")
        ((machine, request),) = running.streams
        assert written == {1: b"hello\n", 2: b"oops\n"}
        assert (machine, request.container, request.tail, request.timestamps) == ("m1", "web", 5, True)
        assert request.since == running.mesh_time_ms - 10_000
        assert "using pod/hello-" in result.stderr

    def test_logs_of_a_named_pod_and_container(self, beectl, running, written):
        running.duplex = Duplex(END)
        pod = running.named("m2").pods[0]
        beectl("logs", pod.pod_name, "-c", "web", "-f", "-p")
        ((machine, request),) = running.streams
        assert (machine, request.claim, request.follow, request.previous) == ("m2", pod.claim, True, True)
        assert "it has web" in beectl("logs", pod.pod_name, "-c", "db", code=ExitCode.INVALID).stderr

    def test_a_failure_of_the_far_end_is_told(self, beectl, running, written):
        running.duplex = Duplex((FrameKind.ERROR, b"no such \x1bcontainer"))
        failed = beectl("logs", "deploy/hello", code=ExitCode.FAILURE)
        assert "no such" in failed.stderr
        assert "\x1b" not in failed.stderr

    def test_exec_ends_with_the_code_of_the_command(self, beectl, running, written):
        running.duplex = Duplex((FrameKind.STDOUT, b"x"), (FrameKind.EXIT, StreamFrame.exit(7).data), END)
        beectl("exec", "deploy/hello", "--", "sh", "-c", "exit 7", code=7)
        ((_, request),) = running.streams
        assert request.command == ("sh", "-c", "exit 7")
        assert (request.stdin, request.tty) == (False, False)

    def test_exec_gives_programs_all_of_it_at_once(self, beectl, running, written):
        running.duplex = Duplex(
            (FrameKind.STDOUT, b"one\n"), (FrameKind.STDERR, b"\xff"), (FrameKind.EXIT, StreamFrame.exit(7).data), END
        )
        facts = json.loads(beectl("exec", "-o", "json", "deploy/hello", "--", "false").stdout)
        assert (facts["rc"], facts["stdout"], facts["stderr"]) == (7, "one\n", "\ufffd")
        assert (facts["container"], facts["machine"]) == ("web", "m1")
        assert written == {1: b"", 2: b""}
        beectl("exec", "-it", "deploy/hello", "-o", "json", "--", "sh", code=ExitCode.INVALID)

    def test_exec_without_a_command_is_wrong_usage(self, beectl, running):
        beectl("exec", "deploy/hello", code=ExitCode.INVALID)

    def test_exec_sends_what_is_piped_in_and_its_end(self, beectl, running, written, monkeypatch):
        async def typed():
            yield b"select 1;\n"

        class Patient(Duplex):
            async def receive(self):
                while (FrameKind.STDIN, b"") not in self.sent:
                    await trio.lowlevel.checkpoint()
                return END

        monkeypatch.setattr(keyboard, "typed", typed)
        running.duplex = Patient()
        beectl("exec", "-it", "deploy/hello", "--", "psql")
        assert running.duplex.sent == [(FrameKind.STDIN, b"select 1;\n"), (FrameKind.STDIN, b"")]
        assert running.streams[0][1].stdin
        assert not running.streams[0][1].tty

    def test_what_has_no_pods(self, beectl, mesh):
        assert "pod/none" in beectl("logs", "none", code=ExitCode.FAILURE).stderr
        beectl("logs", "machine/m1", code=ExitCode.INVALID)


class TestWatch:
    def test_only_what_changed_is_shown_again(self, running, capsys):
        reports = [running.named(name).pods[0] for name in ("m1", "m2")]
        shapes = [pod_shape(report, "m", None) for report in reports]
        now = running.mesh_time_ms
        watch = Watch(ResourceType.PODS, Format.TABLE, {}, namespaces=False, headers=True)
        watch.show(shapes, now)
        assert len(capsys.readouterr().out.splitlines()) == 3
        watch.show(shapes, now + 5000)
        assert capsys.readouterr().out == ""
        failed = pod_shape(replace(reports[0], phase="Failed", ready=False, reason="Evicted"), "m", None)
        watch.show([failed, shapes[1]], now + 6000)
        (line,) = capsys.readouterr().out.splitlines()
        assert "Evicted" in line
        watch.show([shapes[1]], now + 7000)
        assert capsys.readouterr().out == f"pod/{reports[0].pod_name} is gone\n"

    def test_json_is_one_object_a_change(self, running, capsys):
        shape = pod_shape(running.named("m1").pods[0], "m", None)
        watch = Watch(ResourceType.PODS, Format.JSON, {}, namespaces=False, headers=True)
        watch.show([shape], running.mesh_time_ms)
        assert json.loads(capsys.readouterr().out) == shape
