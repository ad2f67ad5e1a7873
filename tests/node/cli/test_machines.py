"""Machines taken out of use, drained and relieved through `beectl`."""

from dataclasses import replace

import pytest

from beemesh_node.cli.errors import ExitCode
from beemesh_node.messaging.errors import MeshUnreachable, PeerRefused
from beemesh_node.protocol.messages import Maintenance


@pytest.fixture
def web(beectl, mesh, hello):
    """A Deployment of two replicas that run on m1 and m2."""
    beectl("apply", "-f", hello)
    ((holding,),) = [list(fake.registry) for fake in mesh.fakes.values()][:1]
    spec = holding.spec
    uid = holding.attested.record.uid
    declaration = Running(uid, holding.attested.record, spec)
    mesh.run_pods(declaration)
    return declaration


class Running:
    """What the fakes need to know of a declaration to run it."""

    deleted, kind = False, "Deployment"

    def __init__(self, uid, record, spec):
        self.uid, self.sequence, self.namespace, self.name = uid, record.sequence, record.namespace, record.name
        self.revision, self.replicas = spec.revision, spec.replicas


def gone(fake):
    fake.pods = []


def nothing(fake):
    """It takes its time."""


class TestCordon:
    def test_says_what_it_did_and_what_was_so(self, beectl, mesh):
        assert beectl("cordon", "m1", "node/m2").stdout == "node/m1 cordoned\nnode/m2 cordoned\n"
        assert beectl("cordon", "m1").stdout == "node/m1 already cordoned\n"
        assert mesh.named("m1").mode is Maintenance.CORDON
        assert "SchedulingDisabled" in beectl("get", "machines").stdout
        assert beectl("uncordon", "m1").stdout == "node/m1 uncordoned\n"
        facts = beectl.json("uncordon", mesh.named("m2").machine)
        assert facts == {"machines": [{"machine": "m2", "unschedulable": False, "changed": True}]}

    def test_nothing_is_done_unless_every_name_is_known(self, beectl, mesh):
        missing = beectl("cordon", "m1", "m9", code=ExitCode.FAILURE)
        assert "machine m9 not found: see `beectl get machines`" in missing.stderr
        assert not mesh.named("m1").orders
        assert "names no machine" in beectl("cordon", "deployment/hello", code=ExitCode.INVALID).stderr
        assert "name each machine once" in beectl("cordon", "m1", "m1", code=ExitCode.INVALID).stderr

    def test_a_machine_of_two_bearers_of_a_name_is_named_by_its_id(self, beectl, mesh):
        first, second = mesh.named("m1"), mesh.named("m2")
        second.certificate = first.certificate
        told = beectl("cordon", "m1", code=ExitCode.INVALID).stderr
        assert first.machine in told
        assert second.machine in told
        beectl("cordon", second.machine)
        assert second.orders
        assert not first.orders

    def test_who_may_not_is_told_so(self, beectl, mesh):
        mesh.named("m1").may_not = "cordon"
        assert "may not cordon" in beectl("cordon", "m1", code=ExitCode.AUTHENTICATION).stderr


class TestLabel:
    """`beectl label`, which says what kubectl would say."""

    def labels(self, beectl, name):
        return beectl.json("get", "machine", name)["metadata"]["labels"]

    def test_sets_changes_and_removes(self, beectl, mesh):
        assert beectl("label", "machine", "m1", "m2", "disk=ssd").stdout == "node/m1 labeled\nnode/m2 labeled\n"
        assert self.labels(beectl, "m2")["disk"] == "ssd"
        assert beectl("label", "node/m1", "disk=ssd").stdout == "node/m1 not labeled\n"
        assert beectl("label", "m1", "disk=nvme", "rack=", "--overwrite").stdout == "node/m1 labeled\n"
        assert (self.labels(beectl, "m1")["disk"], self.labels(beectl, "m1")["rack"]) == ("nvme", "")
        removed = beectl("label", "machine/m1", "disk-", "class-", "never-").stdout
        assert removed == 'label "never" not found.\nnode/m1 unlabeled\n'
        assert not {"disk", "class"} & set(self.labels(beectl, "m1"))
        assert beectl("label", "m1", "disk-").stdout == 'label "disk" not found.\nnode/m1 not labeled\n'
        assert beectl("get", "machines", "-l", "disk=ssd", "-o", "name").stdout == "node/m2\n"

    def test_selects_machines_as_get_does(self, beectl, mesh):
        beectl("label", "m1", "disk=ssd")
        assert beectl("label", "machines", "-l", "disk=ssd", "rack=r1").stdout == "node/m1 labeled\n"
        assert (
            beectl("label", "-l", "kubernetes.io/hostname!=m1", "rack=r2").stdout
            == "node/m2 labeled\nnode/m3 labeled\n"
        )
        assert beectl("label", "--all", "site=home", "class=lab").stdout.count("not labeled") == 3
        none = beectl("label", "-l", "disk=tape", "rack=r3")
        assert (none.stdout, none.stderr) == ("", "No machine has these labels.\n")

    def test_facts_tell_programs_what_was_and_is(self, beectl, mesh):
        facts = beectl.json("label", "m1", "disk=ssd", "class-")
        (told,) = facts["machines"]
        assert (told["machine"], told["changed"]) == ("m1", True)
        assert (told["before"]["class"], "disk" in told["before"]) == ("lab", False)
        assert (told["labels"]["disk"], "class" in told["labels"]) == ("ssd", False)
        assert told["labels"]["site"] == "home"
        assert not beectl.json("label", "m1", "disk=ssd")["machines"][0]["changed"]

    def test_a_dry_run_changes_nothing(self, beectl, mesh):
        assert beectl("label", "m1", "disk=ssd", "--dry-run").stdout == "node/m1 labeled (dry run)\n"
        facts = beectl.json("label", "m1", "disk=ssd", "--dry-run")
        assert (facts["dryRun"], facts["machines"][0]["changed"]) == (True, True)
        assert "disk" not in self.labels(beectl, "m1")

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (
                ("m1", "class=iot"),
                ExitCode.FAILURE,
                "node/m1: 'class' already has a value (lab), and --overwrite is false",
            ),
            (
                ("m1", "site=away", "--overwrite"),
                ExitCode.INVALID,
                "site cannot be changed: it stands in the certificate",
            ),
            (("m1", "kubernetes.io/arch=arm64", "--overwrite"), ExitCode.INVALID, "the machine finds it out itself"),
            (("m1", "kubernetes.io/hostname-"), ExitCode.INVALID, "it is the name in its certificate"),
            (("m9", "a=b"), ExitCode.FAILURE, "machine m9 not found: see `beectl get machines`"),
            (("m1", "m9", "a=b"), ExitCode.FAILURE, "machine m9 not found"),
            (("m1", "m1", "a=b"), ExitCode.INVALID, "name each machine once"),
            (("deployment/hello", "a=b"), ExitCode.INVALID, "labels of a workload stand in its manifest"),
            (("m1",), ExitCode.INVALID, "name at least one label to change"),
            (("m1", "a=b", "m2"), ExitCode.INVALID, "'m2' is neither KEY=VALUE nor KEY-"),
            (("m1", "a=b", "a-"), ExitCode.INVALID, "label a: name it once"),
            (("m1", "a b=c"), ExitCode.INVALID, "label key 'a b'"),
            (("m1", "a=b c"), ExitCode.INVALID, "value of label a"),
            (("m1", "-l", "class=lab", "a=b"), ExitCode.INVALID, "one of these only"),
            (("machines", "a=b"), ExitCode.INVALID, "say which machines"),
            (("-l", "class in", "a=b"), ExitCode.INVALID, "-l: "),
        ],
    )
    def test_what_cannot_be_is_said_and_changes_nothing(self, beectl, mesh, words, code, said):
        assert said in " ".join(beectl("label", *words, code=code).stderr.split())
        assert not any(fake.ordered.values or fake.ordered.hidden for fake in mesh.fakes.values())

    def test_who_may_not_is_told_so(self, beectl, mesh):
        mesh.named("m1").may_not = "label"
        assert (
            "node/m1: admin may not label machines" in beectl("label", "m1", "a=b", code=ExitCode.AUTHENTICATION).stderr
        )

    def test_a_silent_machine_is_named_and_the_others_are_labelled(self, beectl, mesh):
        mesh.named("m2").reachable = False
        told = beectl("label", "--all", "a=b", code=ExitCode.FAILURE)
        assert told.stdout == "node/m1 labeled\nnode/m3 labeled\n"
        assert "error: node/m2: m2 does not answer. Nothing was changed there" in told.stderr
        assert "run it again once it can" in told.stderr
        mesh.named("m2").reachable, mesh.named("m2").silent = True, True
        late = beectl("label", "m2", "a=b", code=ExitCode.TIMEOUT).stderr
        assert "whether it has done it is not known: run it again, which does no harm" in late

    def test_a_machine_that_is_killed_meanwhile_keeps_nobody_else_from_it(self, beectl, mesh):
        def die(fake):
            raise PeerRefused("m1 closed the stream without an answer")

        mesh.named("m1").on_label = die
        told = beectl("label", "m1", "m2", "a=b", code=ExitCode.FAILURE)
        assert told.stdout == "node/m2 labeled\n"
        assert (
            "error: node/m1: m1 closed the stream without an answer; whether it has done it is not known" in told.stderr
        )


class TestDrain:
    def test_tells_of_each_pod_until_the_machine_is_empty(self, beectl, mesh, web):
        m1 = mesh.named("m1")
        (pod,) = m1.pods
        m1.looked = [nothing, gone]
        lines = beectl("drain", "m1", "--grace-period", "7").stdout.splitlines()
        assert lines == [
            "node/m1 cordoned",
            f"evicting pod default/{pod.pod_name}",
            f"pod/{pod.pod_name} evicted",
            "node/m1 drained",
        ]
        (order,) = m1.orders
        assert (order.mode, order.grace_seconds) == (Maintenance.DRAIN, 7)
        assert beectl("drain", "m1").stdout == "node/m1 already cordoned\nnode/m1 drained\n"

    def test_only_shows_with_dry_run(self, beectl, mesh, web):
        m1 = mesh.named("m1")
        (pod,) = m1.pods
        assert beectl("drain", "m1", "--dry-run").stdout == f"pod default/{pod.pod_name} would be moved\n"
        assert not m1.orders

    def test_facts_tell_programs_where_it_is_now(self, beectl, mesh, web):
        m1, m3 = mesh.named("m1"), mesh.named("m3")
        (pod,) = m1.pods

        def move(fake):
            gone(fake)
            m3.pods = [mesh.report(web, pod.claim.slot, m3)]

        m1.looked = [nothing, move]
        facts = beectl.json("drain", "m1")
        assert (facts["drained"], facts["forced"], facts["unseen"]) == (True, False, 0)
        assert facts["pods"] == [{"namespace": "default", "pod": pod.pod_name, "workload": "hello", "now": ["m3"]}]

    def test_what_cannot_be_moved_is_told_with_its_reason_and_goes_on(self, beectl, mesh, web):
        for fake in mesh.fakes.values():
            fake.message = "1 of 2 replicas cannot be moved: 0/3 machines can take it: 2 lack memory, 1 is cordoned"
        told = beectl("drain", "m1", "--timeout", "300ms", code=ExitCode.TIMEOUT).stderr
        assert "after 0.3 s not drained: default/hello-" in told
        assert "2 lack memory" in told
        assert "`beectl uncordon m1` ends it, --force ends what cannot be moved" in told
        assert mesh.named("m1").mode is Maintenance.DRAIN

    def test_force_ends_what_is_left_when_the_time_is_over(self, beectl, mesh, web):
        m1 = mesh.named("m1")
        done = beectl("drain", "m1", "--timeout", "300ms", "--force")
        assert [order.mode for order in m1.orders] == [Maintenance.DRAIN, Maintenance.EVICT]
        assert "ending what could not be moved: default/hello-" in done.stderr
        assert done.stdout.endswith("node/m1 drained\n")

    def test_somebody_else_may_call_it_off(self, beectl, mesh, web):
        m1 = mesh.named("m1")

        def uncordon(fake):
            fake.pods = [mesh.report(web, pod.claim.slot, fake) for pod in fake.pods]

        m1.looked = [nothing, uncordon]
        assert "somebody has uncordoned it" in beectl("drain", "m1", code=ExitCode.FAILURE).stderr

    def test_ctrl_c_stops_the_watching_and_says_that_the_machine_goes_on(self, beectl, mesh, web):
        def interrupt(fake):
            raise KeyboardInterrupt

        m1 = mesh.named("m1")
        m1.looked = [nothing, interrupt]
        stopped = beectl("drain", "m1", code=130)
        assert "m1 goes on draining; `beectl drain m1` watches again, `beectl uncordon m1` ends it" in stopped.stderr
        assert m1.mode is Maintenance.DRAIN

    def test_a_machine_that_restarts_meanwhile_is_waited_for(self, beectl, mesh, web):
        m3 = mesh.named("m3")
        m3.pods = [mesh.report(web, 5, m3)]

        def restart(fake):
            raise MeshUnreachable("it restarts")

        m3.looked = [nothing, restart, nothing, gone]
        assert beectl("drain", "m3").stdout.endswith("node/m3 drained\n")

    def test_what_has_come_to_its_own_end_is_not_waited_for(self, beectl, mesh, web):
        mesh.run_pods(web, phase="Succeeded")
        assert beectl("drain", "m1").stdout == "node/m1 cordoned\nnode/m1 drained\n"


class TestRebalance:
    def crowd(self, mesh, web):
        web.replicas = 4
        mesh.run_pods(web)
        m1 = mesh.named("m1")
        for fake in mesh.fakes.values():
            fake.pods = []
        m1.pods = [mesh.report(web, slot, m1) for slot in range(4)]
        return m1

    def test_shows_what_it_would_move(self, beectl, mesh, web):
        self.crowd(mesh, web)
        out = beectl("rebalance", "deployment/hello", "--dry-run").stdout
        assert out.splitlines()[0].split() == ["POD", "FROM", "ROOM", "ON"]
        rows = [line.split() for line in out.splitlines()[1:]]
        assert [row[1] for row in rows] == ["m1", "m1"]
        assert {row[2] for row in rows} == {"m2", "m3"}

    def test_moves_and_says_where_from_and_to(self, beectl, mesh, web):
        m1, m2 = self.crowd(mesh, web), mesh.named("m2")

        def begin(fake):
            slots = [pod.claim.slot for pod in fake.pods if pod.leaving]
            m2.pods = [mesh.report(web, slot, m2, pod_uid=f"new-{slot}") for slot in slots]

        def end(fake):
            fake.pods = [pod for pod in fake.pods if not pod.leaving]

        m1.looked = [nothing, begin, end]
        out = beectl("rebalance", "--all").stdout
        assert out.count("moved from m1 to m2") == 2

    def test_what_stays_after_all_is_a_failure(self, beectl, mesh, web):
        m1 = self.crowd(mesh, web)

        def stay(fake):
            fake.pods = [mesh.report(web, pod.claim.slot, fake) for pod in fake.pods]

        m1.looked = [nothing, nothing, stay]
        assert "no other machine took hello-" in beectl("rebalance", "--all", code=ExitCode.FAILURE).stderr

    def test_says_when_it_is_not_over_in_time(self, beectl, mesh, web):
        self.crowd(mesh, web)
        told = beectl("rebalance", "deploy/hello", "--timeout", "100ms", code=ExitCode.TIMEOUT).stderr
        assert "after 0.1 s not moved: hello-" in told

    def test_what_is_balanced_stays(self, beectl, mesh, web):
        assert "Nothing to move" in beectl("rebalance", "hello").stdout

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            ((), ExitCode.INVALID, "say what to rebalance"),
            (("hello", "--all"), ExitCode.INVALID, "say what to rebalance"),
            (("machine/m1",), ExitCode.INVALID, "cannot be rebalanced"),
            (("deployment/other",), ExitCode.FAILURE, "deployment/other not found in namespace default"),
        ],
    )
    def test_what_is_meant_has_to_be_there(self, beectl, mesh, web, words, code, said):
        assert said in beectl("rebalance", *words, code=code).stderr


class TestStories:
    def test_a_pod_is_described_with_what_happened_to_its_replica_on_every_machine(self, beectl, mesh, web):
        m1, m2, m3 = (mesh.named(name) for name in ("m1", "m2", "m3"))
        (pod,) = m1.pods
        slot = pod.claim.slot
        story = [
            mesh.event(web, "Started", "old: replica runs", machine=m3.machine, slot=slot, pod="old"),
            mesh.event(web, "Scheduled", "m3 is gone", machine=m2.machine, slot=slot),
            mesh.event(web, "Started", "another", machine=m2.machine, slot=slot + 1),
        ]
        m2.events, m1.events = story, story[:1]
        m3.reachable = False
        text = beectl("describe", "pod", pod.pod_name).stdout
        rows = text[text.index("Events:") :].splitlines()
        assert rows[1].split() == ["TYPE", "REASON", "AGE", "FROM", "MESSAGE"]
        assert len(rows) == 4, "what two machines remember stands once, what another replica did not at all"
        assert any("m3" in row and "old: replica runs" in row for row in rows)
        assert any("m3 is gone" in row for row in rows)

    def test_a_machine_is_described_with_its_own_events(self, beectl, mesh, web):
        m1 = mesh.named("m1")
        told = mesh.event(web, "NodeNotSchedulable", "an operator drains it")
        m1.events = [replace(told, kind="Node", name="m1", uid=m1.machine, namespace="default")]
        assert "an operator drains it" in beectl("describe", "machine", "m1").stdout
        assert "an operator drains it" not in beectl("describe", "machine", "m2").stdout
        assert "node/m1" in beectl("get", "events").stdout
