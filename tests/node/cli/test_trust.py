"""Who is believed, changed by `beectl`: every step can be made again, and says what it did and did not."""

import json
import os
from pathlib import Path

import pytest

from beemesh_node.cli import authority
from beemesh_node.cli.context import Context, ContextSettings
from beemesh_node.cli.errors import CliError, ExitCode
from beemesh_node.cli.operator import load_trust
from beemesh_node.daemon.enrolment import generate_keys, load_membership, make_request, take_bundle
from beemesh_node.protocol.encryption import epoch_id
from beemesh_node.protocol.messages import TrustNews
from beemesh_node.protocol.revocation import KEPT_AFTER_END_MS
from beemesh_node.protocol.root import MachineProfile
from tests.node.cli.conftest import make_mesh

NONCE = "5b" * 32


@pytest.fixture
def context(mesh, mesh_dir):
    return Context(mesh_dir)


def trust_of(context):
    return load_trust(context, ContextSettings.load(context))


def news_of(mesh, name):
    """What a machine was shown, beyond being asked what it knows."""
    return [payload for who, payload in mesh.asked if who == name and isinstance(payload, TrustNews) and payload.lists]


def join(beectl, context, tmp_path, name, *options, state=None, code=0):
    """Have a machine join by files alone; what `cert sign` printed, and its state directory."""
    place = state or tmp_path / f"state-{name}"
    mesh_id = bytes.fromhex(ContextSettings.load(context).mesh_id)
    generate_keys(place, renew="--renew" in options)
    make_request(place, mesh_id, bytes.fromhex(NONCE), tmp_path / "request")
    words = ("cert", "sign", "--request", tmp_path / "request", "--name", name, "--out", tmp_path / "bundle")
    if code:
        return beectl(*words, *options, code=code), place
    signed = beectl.json(*words, *options)
    take_bundle(place, tmp_path / "bundle")
    return signed, place


class TestRevoke:
    def test_says_what_it_did_and_tells_every_other_machine(self, beectl, mesh, context):
        gone = mesh.named("m3")
        facts = beectl.json("cert", "revoke", "m3", "--reason", "stolen")
        assert facts == {
            "changed": True,
            "epoch": 2,
            "revoked": [
                {"kind": "machine", "name": "m3", "machine_id": gone.machine, "serial": 0, "changed": True}
            ],
            "exposed": [],
            "told": ["m1", "m2"],
            "untold": [],
            "signed_again": [],
            "not_signed_again": {},
        }  # fmt: skip
        assert news_of(mesh, "m3") == [], "the list is for the others"
        (news,) = news_of(mesh, "m1")
        assert [epoch_id(secret) for secret in news.secrets] == [trust_of(context).revocations.top.content.epoch]
        assert "m3" not in beectl("get", "machines").stdout
        assert beectl("get", "revocations").stdout.splitlines()[1].startswith(f"m3     {gone.machine}   all")
        assert "Reason:                 stolen" in beectl("describe", "machine", "m3").stdout
        assert beectl.json("mesh", "info")["epoch"] == 2

    def test_again_it_changes_nothing_and_tells_who_was_away(self, beectl, mesh):
        mesh.named("m2").reachable = False
        first = beectl.json("cert", "revoke", "machine/m3")
        assert (first["told"], first["untold"]) == (["m1"], ["m2"])
        mesh.named("m2").reachable = True
        again = beectl.json("cert", "revoke", mesh.named("m3").machine)
        assert (again["changed"], again["epoch"], again["told"]) == (False, 2, ["m1", "m2"])
        assert mesh.named("m2").believes.digest == mesh.named("m1").believes.digest
        assert "was revoked already" in beectl("cert", "revoke", "m3").stdout

    def test_whoever_is_interrupted_goes_on_with_the_same_list(self, beectl, mesh, context):
        beectl("get", "machines")
        for fake in mesh.fakes.values():
            fake.silent = True
        failed = beectl("cert", "revoke", "m3", code=ExitCode.FAILURE)
        assert "run this again" in failed.stderr
        signed = trust_of(context).digest
        for fake in mesh.fakes.values():
            fake.silent = False
        facts = beectl.json("cert", "revoke", "m3")
        assert (facts["epoch"], facts["told"], facts["changed"]) == (2, ["m1", "m2"], False)
        assert trust_of(context).digest == signed == mesh.named("m1").believes.digest

    def test_a_dry_run_changes_nothing_and_says_what_they_held(self, beectl, mesh, hello, context):
        beectl("apply", "-f", hello)
        before = trust_of(context).digest
        facts = beectl.json("cert", "revoke", "m3", "--dry-run")
        assert facts["exposed"] == [
            {"namespace": "default", "kind": "Deployment", "name": "hello", "as": ["guardian"]}
        ]  # fmt: skip
        assert (facts["epoch"], facts["told"]) == (2, [])
        assert trust_of(context).digest == before == mesh.named("m1").believes.digest
        told = beectl("cert", "revoke", "m3").stdout
        assert "replace their Secrets" in told
        assert "default/deployment/hello (guardian)" in told

    def test_one_pipe_with_the_passphrase_opens_both_keys(self, beectl, tmp_path, monkeypatch):
        secret, locked = tmp_path / "secret", tmp_path / "locked"
        secret.write_text("correct horse\n")
        beectl("mesh", "init", "--dir", locked, "--encrypt", env={"BEEMESH_PASSPHRASE_FILE": str(secret)})
        make_mesh(locked, tmp_path, monkeypatch, ["m1", "m2", "m3"], "correct horse")
        for passphrase, code in (("wrong", ExitCode.AUTHENTICATION), ("correct horse", 0)):
            reading, writing = os.pipe()
            os.write(writing, passphrase.encode() + b"\n")
            os.close(writing)
            beectl("cert", "revoke", "m3", env={"BEEMESH_PASSPHRASE_FILE": f"/dev/fd/{reading}"}, code=code)
            os.close(reading)
        assert trust_of(Context(locked)).revocations.entries

    def test_one_certificate(self, beectl, mesh):
        facts = beectl.json("cert", "revoke", "serial/77")
        assert facts["revoked"][0]["serial"] == 77
        serial = next(iter(mesh.operator.trust.verify_chain(f.certificate).serial for f in mesh.fakes.values()))
        assert beectl.json("cert", "revoke", serial)["revoked"][0]["name"] == "m1"
        assert "m1" not in beectl("get", "machines").stdout

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("m9",), ExitCode.FAILURE, "no such member is known"),
            (("deployment/m1",), ExitCode.INVALID, "give NAME, machine/NAME"),
            (("admin",), ExitCode.INVALID, "is you"),
            (("m1", "m9"), ExitCode.FAILURE, "no such member"),
            (("m1", "--reason", "x" * 201), ExitCode.INVALID, "a reason 200"),
        ],
    )
    def test_what_cannot_be_meant(self, beectl, mesh, context, words, code, told):
        assert told in beectl("cert", "revoke", *words, code=code).stderr
        assert trust_of(context).revocations.entries == ()

    def test_a_name_that_several_have(self, beectl, mesh, context):
        first, second = mesh.named("m1"), mesh.named("m2")
        root = authority.open_root(context, ContextSettings.load(context))
        old = mesh.trust.verify_chain(second.certificate)
        second.certificate = root.renew(old, mesh.mesh_time_ms, profile=MachineProfile("m1"))
        error = beectl("cert", "revoke", "m1", code=ExitCode.INVALID).stderr
        assert first.machine in error
        assert second.machine in error

    def test_keys_that_were_revoked_are_not_signed_again(self, beectl, mesh, context, tmp_path):
        _, state = join(beectl, context, tmp_path, "web1")
        beectl("cert", "revoke", "web1")
        (tmp_path / "request").unlink()
        refused, _ = join(beectl, context, tmp_path, "web2", state=state, code=ExitCode.AUTHENTICATION)
        assert "machine/web1: these keys were revoked" in refused.stderr
        fresh, place = join(beectl, context, tmp_path, "web1", state=tmp_path / "other")
        assert fresh["machine_id"] != load_membership(state).certificate.machine_id
        newcomer = load_membership(place)
        assert newcomer.revocations == tuple(each.raw for each in trust_of(context).revocations.lists)
        assert epoch_id(newcomer.epoch_secret) == trust_of(context).revocations.top.content.epoch

    def test_a_newcomer_is_not_told_half_of_it(self, beectl, mesh, context, tmp_path):
        """Where the secret of the newest list is not known, neither is given: the mesh hands out both."""
        beectl("mesh", "rotate-epoch")
        authority.Epoch(1, b"1" * 32).save(context)
        _, place = join(beectl, context, tmp_path, "web1")
        assert load_membership(place).revocations == ()


class TestSuperseded:
    """Machines m1 to m3 stand in no ledger; web1 and web2 were signed by `cert sign`."""

    def test_what_was_replaced_is_revoked_whatever_was_interrupted(self, beectl, mesh, context, tmp_path):
        first, state = join(beectl, context, tmp_path, "web1")
        lost, _ = join(beectl, context, tmp_path, "web1", "--renew", state=state)  # its answer was lost
        again, _ = join(beectl, context, tmp_path, "web1", "--renew", state=state)
        assert again["replaced"] == lost["serial"]
        would = beectl.json("cert", "revoke", "--superseded", "--dry-run")
        assert {each["serial"] for each in would["revoked"]} == {first["serial"], lost["serial"]}
        assert trust_of(context).revocations.entries == ()
        done = beectl.json("cert", "revoke", "--superseded", "--reason", "replaced")
        assert (done["changed"], done["epoch"], done["in_use"]) == (True, 2, [])
        revoked = trust_of(context).revocations
        assert sorted(e.serial for e in revoked.entries) == sorted((first["serial"], lost["serial"]))
        assert {(e.name, e.machine_id) for e in revoked.entries} == {("web1", first["machine_id"])}
        after = beectl.json("cert", "revoke", "--superseded")
        assert (after["changed"], after["revoked"], after["epoch"], after["told"]) == (False, [], 2, ["m1", "m2", "m3"])
        assert beectl.json("cert", "revoke", first["serial"])["changed"] is False

    def test_what_is_still_in_use_is_left(self, beectl, mesh, context, tmp_path):
        first, state = join(beectl, context, tmp_path, "web1")
        before = load_membership(state).certificate_bytes
        join(beectl, context, tmp_path, "web1", "--renew", state=state)
        known = mesh.named("m3")
        known.certificate, fresh = before, known.certificate
        facts = beectl.json("cert", "revoke", "--superseded")
        assert (facts["changed"], facts["revoked"], facts["epoch"]) == (False, [], 1)
        assert [(each["name"], each["serial"]) for each in facts["in_use"]] == [("web1", first["serial"])]
        assert "is in use: have it join" in beectl("cert", "revoke", "--superseded").stdout
        known.certificate = fresh
        assert beectl.json("cert", "revoke", "--superseded")["changed"] is True

    def test_another_certificate_for_the_same_keys_takes_nothing_away(self, beectl, mesh, context, tmp_path):
        _, state = join(beectl, context, tmp_path, "web1")
        words = ("cert", "sign", "--request", tmp_path / "request", "--name", "web1", "--out", tmp_path / "bundle")
        beectl(*words, "--label", "zone=a")
        assert beectl.json("cert", "revoke", "--superseded")["revoked"] == []
        join(beectl, context, tmp_path, "web1", "--renew", state=state)
        assert len(beectl.json("cert", "revoke", "--superseded")["revoked"]) == 2, "both were for the keys of before"

    def test_a_new_member_under_an_old_name_replaces_nobody(self, beectl, mesh, context, tmp_path):
        join(beectl, context, tmp_path, "web1")
        join(beectl, context, tmp_path, "web1", state=tmp_path / "other")
        assert beectl.json("cert", "revoke", "--superseded")["revoked"] == []

    @pytest.mark.parametrize("words", [(), ("m1", "--superseded")])
    def test_either_members_or_those(self, beectl, mesh, words):
        assert "or --superseded" in beectl("cert", "revoke", *words, code=ExitCode.INVALID).stderr


class TestOperators:
    @pytest.fixture
    def ann(self, beectl, mesh, context, tmp_path, monkeypatch):
        """The directory of an operator who may apply, and not revoke."""
        place = tmp_path / "ann"
        mesh_id = ContextSettings.load(context).mesh_id
        beectl("keys", "request", "--dir", place, "--mesh", mesh_id, "--out", tmp_path / "r")
        beectl(
            *("cert", "operator", "--request", tmp_path / "r", "--name", "ann", "--namespace", "default"),
            *("--verb", "apply", "--verb", "get", "--verb", "delete", "--out", tmp_path / "b"),
        )
        beectl("mesh", "join", "--dir", place, "--bundle", tmp_path / "b")
        return place

    def test_who_has_not_the_verb_may_not(self, beectl, mesh, ann):
        for words in (("cert", "revoke", "m1"), ("mesh", "rotate-epoch")):
            refused = beectl(*words, "--dir", ann, code=ExitCode.AUTHENTICATION)
            assert "ann may not" in refused.stderr
        assert mesh.named("m2").believes.revocations.number == 1

    def test_what_a_revoked_one_declared_is_signed_again(self, beectl, mesh, ann, hello):
        beectl("apply", "-f", hello, "--dir", ann)
        (before,) = (each.attested for each in mesh.named("m1").registry)
        assert before.owner.name == "ann"
        facts = beectl.json("cert", "revoke", "operator/ann")
        assert facts["signed_again"] == ["default/deployment/hello"]
        (after,) = (each.attested for each in mesh.named("m1").registry)
        assert (after.owner.name, after.record.sequence) == ("admin", before.record.sequence + 1)
        assert (after.record.cid, after.record.uid) == (before.record.cid, before.record.uid)
        refused = beectl("scale", "deployment/hello", "--replicas", "3", "--dir", ann, code=ExitCode.AUTHENTICATION)
        assert "revoked" in refused.stderr
        again = beectl.json("cert", "revoke", "operator/ann")
        assert (again["changed"], again["signed_again"]) == (False, [])

    def test_also_what_it_deleted(self, beectl, mesh, ann, hello):
        beectl("apply", "-f", hello)
        beectl("delete", "deployment", "hello", "--dir", ann)
        assert beectl.json("cert", "revoke", "operator/ann")["signed_again"] == ["default/deployment/hello"]
        (tombstone,) = (each.attested for each in mesh.named("m1").registry)
        assert (tombstone.owner.name, tombstone.record.deleted) == ("admin", True)

    def test_an_operator_with_the_verb_revokes_without_the_root(self, beectl, mesh, mesh_dir, context):
        facts = beectl.json("cert", "revoke", "m3", "--by", "operator")
        assert facts["told"] == ["m1", "m2"]
        assert trust_of(context).revocations.top.signer.name == "admin"
        assert beectl.json("mesh", "rotate-epoch")["epoch"] == 3
        assert [each.signer for each in trust_of(context).revocations.lists] == [None], "the root's covers it"


class TestLimits:
    def test_certificates_of_machines_leave_the_list_after_their_end(self, beectl, mesh, context, tmp_path):
        first, state = join(beectl, context, tmp_path, "web1")
        join(beectl, context, tmp_path, "web1", "--renew", state=state)
        beectl("cert", "revoke", "--superseded")
        beectl("cert", "revoke", "m3", "admin2", code=ExitCode.FAILURE)
        beectl("cert", "revoke", "m3", "serial/99")
        (gone,) = (each for each in trust_of(context).revocations.entries if each.serial == first["serial"])
        assert gone.not_after == first["not_after"]
        mesh.mesh_time_ms = first["not_after"] + KEPT_AFTER_END_MS - 1
        beectl("mesh", "rotate-epoch")
        assert len(trust_of(context).revocations.entries) == 3
        mesh.mesh_time_ms += 1
        beectl("mesh", "rotate-epoch")
        assert {(each.name, each.serial) for each in trust_of(context).revocations.entries} == {("m3", 0), ("", 99)}
        assert len(trust_of(context).revocations.lists) == 1

    def test_the_certificate_of_an_operator_stays_for_good(self, beectl, mesh, context, tmp_path):
        """What it signed is believed after its end."""
        mesh_id = ContextSettings.load(context).mesh_id
        beectl("keys", "request", "--dir", tmp_path / "ann", "--mesh", mesh_id, "--out", tmp_path / "r")
        signed = beectl.json(
            *("cert", "operator", "--request", tmp_path / "r", "--name", "ann", "--namespace", "*"),
            *("--verb", "get", "--out", tmp_path / "b"),
        )
        beectl("cert", "revoke", signed["serial"])
        assert [each.not_after for each in trust_of(context).revocations.entries] == [0]

    def test_a_list_that_would_be_too_long_is_refused_and_nothing_has_changed(self, beectl, mesh, context, monkeypatch):
        monkeypatch.setattr("beemesh_node.protocol.revocation.MAX_ENTRIES", 2)
        beectl("cert", "revoke", "m3", "serial/99")
        before = trust_of(context).digest
        refused = beectl("cert", "revoke", "serial/100", code=ExitCode.INVALID).stderr
        assert "the list cannot be made: 3 entries: at most 2 are allowed" in refused
        assert "Nothing has changed" in refused
        assert trust_of(context).digest == before
        assert beectl.json("mesh", "rotate-epoch")["epoch"] == 3

    def test_a_root_is_not_added_that_could_not_be_the_only_one(self, beectl, mesh, context, monkeypatch):
        monkeypatch.setattr("beemesh_node.protocol.trust.MAX_CHAIN", 4)
        for _ in range(2):
            beectl("mesh", "root", "add")
            beectl("cert", "renew", "--all")
            beectl("mesh", "root", "retire")
        before = trust_of(context)
        refused = beectl("mesh", "root", "add", code=ExitCode.FAILURE).stderr
        assert "nothing has changed, the present root goes on" in refused
        assert trust_of(context).digest == before.digest == mesh.named("m1").believes.digest
        assert [each["state"] for each in beectl.json("mesh", "root", "status")["roots"]] == ["signs"]
        beectl("mesh", "rotate-epoch")


class TestThief:
    """An operator with the verb `revoke`, whose keys were stolen, against the others; the root decides."""

    @pytest.fixture
    def operator(self, beectl, mesh, context, tmp_path):
        """Makes an operator with every right; its directory."""

        def make(name):
            place, mesh_id = tmp_path / name, ContextSettings.load(context).mesh_id
            beectl("keys", "request", "--dir", place, "--mesh", mesh_id, "--out", tmp_path / "r")
            beectl(
                *("cert", "operator", "--request", tmp_path / "r", "--name", name, "--namespace", "*"),
                *("--verb", "*", "--out", tmp_path / "b"),
            )
            beectl("mesh", "join", "--dir", place, "--bundle", tmp_path / "b")
            (tmp_path / "r").unlink()
            return place

        return make

    def id_of(self, context, name):
        return authority.issued(context)[f"operator/{name}"]["machine_id"]

    def test_what_it_revoked_is_void_once_the_root_revokes_it(self, beectl, mesh, context, operator):
        thief, honest = operator("thief"), operator("honest")
        beectl("cert", "revoke", self.id_of(context, "honest"), "m3", "--dir", thief)
        assert {each.name for each in mesh.named("m1").believes.revocations.entries} == {"", "m3"}
        would = beectl.json("cert", "revoke", "thief", "--dry-run")
        facts = beectl.json("cert", "revoke", "thief")
        assert sorted(each["machine_id"] for each in facts["void"]) == sorted(
            (self.id_of(context, "honest"), mesh.named("m3").machine)
        )
        assert would["void"] == facts["void"]
        for lists in (trust_of(context).revocations, mesh.named("m1").believes.revocations):
            assert [each.name for each in lists.entries] == ["thief"]
        assert "m3" in beectl("get", "machines", "--dir", honest).stdout

    def test_what_the_root_names_beside_it_stays(self, beectl, mesh, context, operator):
        thief = operator("thief")
        beectl("cert", "revoke", "m3", "--dir", thief)
        facts = beectl.json("cert", "revoke", "thief", "m3")
        assert "void" not in facts
        assert {each.name for each in trust_of(context).revocations.entries} == {"thief", "m3"}

    def test_what_the_root_confirmed_before_stays(self, beectl, mesh, context, operator):
        thief = operator("thief")
        beectl("cert", "revoke", "m3", "--dir", thief)
        assert beectl.json("cert", "revoke", "m3")["changed"] is True, "the root has not said it yet"
        assert beectl.json("cert", "revoke", "m3")["changed"] is False
        beectl("cert", "revoke", "thief")
        assert {each.name for each in trust_of(context).revocations.entries} == {"thief", "m3"}

    def test_another_operator_does_not_make_its_words_last(self, beectl, mesh, context, operator):
        thief, honest = operator("thief"), operator("honest")
        beectl("cert", "revoke", "m3", "--dir", thief)
        beectl("cert", "revoke", "m2", "--dir", honest)
        beectl("cert", "revoke", "thief")
        assert {each.name for each in trust_of(context).revocations.entries} == {"thief", "m2"}


class TestRoot:
    def test_the_way_from_one_to_the_next(self, beectl, mesh, context, hello, tmp_path):
        beectl("apply", "-f", hello)
        beectl("cert", "revoke", "m3")
        old = beectl.json("mesh", "info")["roots"][0]
        added = beectl.json("mesh", "root", "add")
        assert (added["changed"], added["bundle"], added["roots"][1], added["told"]) == (True, 2, old, ["m1", "m2"])
        new = added["roots"][0]
        assert beectl.json("mesh", "root", "add")["changed"] is False
        status = beectl.json("mesh", "root", "status")
        assert [(each["id"], each["state"]) for each in status["roots"]] == [(new, "signs"), (old, "to be retired")]
        assert not any(each["renewed"] for each in status["members"])

        refused = beectl("mesh", "root", "retire", code=ExitCode.FAILURE)
        assert "still under the old root: machine/m1, machine/m2, operator/admin" in refused.stderr
        renewed = beectl.json("cert", "renew", "--all")
        assert [each["name"] for each in renewed["renewed"]] == ["m1", "m2", "admin"]
        assert renewed["root"] == new
        again = beectl.json("cert", "renew", "--all")
        assert (again["changed"], again["unchanged"]) == (False, ["m1", "m2"])
        signed, _ = join(beectl, context, tmp_path, "web1")
        assert signed["root"] == new
        assert join(beectl, context, tmp_path, "web2", "--root", "present")[0]["root"] == old
        assert "machine/web2" in beectl("mesh", "root", "retire", code=ExitCode.FAILURE).stderr
        beectl("cert", "revoke", "web2")

        retired = beectl.json("mesh", "root", "retire")
        assert (retired["changed"], retired["bundle"], retired["roots"]) == (True, 3, [new])
        assert beectl.json("mesh", "info")["mesh_id"] == old
        assert {path.name for path in context.path.glob("root*")} == {"root.key", "root.retired.key"}
        lists = trust_of(context).revocations
        assert sorted(each.name for each in lists.entries) == ["m3", "web2"]
        assert lists.top.content.issuer.hex() == new, "who knows the new root alone believes it"
        assert mesh.named("m1").believes.digest == trust_of(context).digest
        beectl("scale", "deployment/hello", "--replicas", "3")
        assert "has no next root" in beectl("mesh", "root", "retire", code=ExitCode.INVALID).stderr

    @pytest.mark.parametrize("step", ["add", "retire"])
    def test_a_step_that_reached_nobody_is_made_again(self, beectl, mesh, context, step):
        if step == "retire":
            beectl("mesh", "root", "add")
            beectl("cert", "renew", "--all")
        for fake in mesh.fakes.values():
            fake.silent = True
        assert "run this again" in beectl("mesh", "root", step, code=ExitCode.FAILURE).stderr
        for fake in mesh.fakes.values():
            fake.silent = False
        bundle = trust_of(context).sequence
        facts = beectl.json("mesh", "root", step)
        assert (facts["bundle"], facts["told"]) == (bundle, ["m1", "m2", "m3"])
        if step == "add":
            beectl("cert", "renew", "--all")
            beectl("mesh", "root", "retire")
        assert {path.name for path in context.path.glob("root*")} == {"root.key", "root.retired.key"}
        beectl("mesh", "rotate-epoch")

    def test_whoever_is_interrupted_between_the_keys_still_has_a_root(self, beectl, mesh, context, monkeypatch):
        beectl("mesh", "root", "add")
        beectl("cert", "renew", "--all")

        def interrupted(path, target):
            if target == context.root_key:
                raise KeyboardInterrupt
            return os.replace(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", interrupted)
            beectl("mesh", "root", "retire", code=130)
        assert context.root_key.is_file()
        beectl("mesh", "root", "add")
        beectl("mesh", "root", "retire")
        assert {path.name for path in context.path.glob("root*")} == {"root.key", "root.retired.key"}
        beectl("mesh", "rotate-epoch")

    def test_one_machine_that_is_away_does_not_keep_the_others(self, beectl, mesh):
        beectl("mesh", "root", "add")
        mesh.named("m2").silent = True
        facts = json.loads(beectl("cert", "renew", "--all", "-o", "json", code=ExitCode.FAILURE).stdout)
        assert [each["name"] for each in facts["renewed"]] == ["m1", "m3", "admin"]
        assert list(facts["failed"]) == ["m2"]
        mesh.named("m2").silent = False
        assert [each["name"] for each in beectl.json("cert", "renew", "m2", "m1")["renewed"]] == ["m2"]

    def test_after_a_theft_nothing_of_the_old_one_is_believed(self, beectl, mesh, context, hello):
        beectl("apply", "-f", hello)
        (before,) = (each.attested for each in mesh.named("m1").registry)
        beectl("mesh", "root", "add")
        assert "your own certificate" not in beectl("cert", "renew", "--all").stdout
        facts = beectl.json("mesh", "root", "retire", "--stolen")
        assert facts["signed_again"] == ["default/deployment/hello"]
        (after,) = (each.attested for each in mesh.named("m1").registry)
        assert after.owner.issuer.hex() == facts["roots"][0] != before.owner.issuer.hex()
        assert list(mesh.named("m1").believes.past_roots) == [bytes.fromhex(facts["roots"][0])]
        assert beectl.json("get", "deployment", "hello")["metadata"]["name"] == "hello"

    def test_the_next_root_is_guarded_as_the_present_one_is(self, beectl, mesh, context, tmp_path, monkeypatch):
        secret = tmp_path / "secret"
        secret.write_text("correct horse\n")
        monkeypatch.setenv("BEEMESH_NEW_PASSPHRASE_FILE", str(secret))
        beectl("keys", "passphrase")
        refused = beectl("mesh", "root", "add", code=ExitCode.AUTHENTICATION)
        assert "passphrase" in refused.stderr
        monkeypatch.setenv("BEEMESH_PASSPHRASE_FILE", str(secret))
        beectl("mesh", "root", "add")
        assert b"correct horse" not in context.next_root_key.read_bytes()
        monkeypatch.delenv("BEEMESH_PASSPHRASE_FILE")
        with pytest.raises(CliError):
            authority.open_root(context, ContextSettings.load(context))


class TestKeysOfAMachine:
    def test_new_keys_under_the_same_id(self, beectl, mesh, context, tmp_path):
        first, state = join(beectl, context, tmp_path, "web1")
        old = load_membership(state)
        (tmp_path / "request").unlink()
        second, _ = join(beectl, context, tmp_path, "web1", "--renew", state=state)
        new = load_membership(state)
        assert (second["machine_id"], second["replaced"]) == (first["machine_id"], first["serial"])
        assert first["replaced"] == 0
        assert new.identity.peer.peer_id != old.identity.peer.peer_id
        assert not (state / "machine.key.next").exists()
        assert generate_keys(state).changed is False
        (revoked,) = beectl.json("cert", "revoke", second["replaced"])["revoked"]
        assert (revoked["name"], revoked["machine_id"], revoked["serial"]) == (
            "web1", first["machine_id"], first["serial"]
        )  # fmt: skip

    def test_the_old_ones_stay_in_use_until_the_answer_comes(self, beectl, mesh, context, tmp_path):
        _, state = join(beectl, context, tmp_path, "web1")
        before = load_membership(state).identity.peer.peer_id
        made = [generate_keys(state, renew=True) for _ in range(2)]
        assert [each.changed for each in made] == [True, False]
        assert load_membership(state).identity.peer.peer_id == before

    def test_a_power_loss_between_certificate_and_keys(self, beectl, mesh, context, tmp_path, monkeypatch):
        _, state = join(beectl, context, tmp_path, "web1")
        (tmp_path / "request").unlink()
        monkeypatch.setattr("beemesh_node.daemon.enrolment._put_next_key_in_place", lambda *_: None)
        join(beectl, context, tmp_path, "web1", "--renew", state=state)
        monkeypatch.undo()
        assert (state / "machine.key.next").exists()
        found = load_membership(state)
        assert found.identity.peer.peer_id == found.certificate.peer_id
        assert not (state / "machine.key.next").exists()

    def test_who_is_not_in_the_ledger_cannot_be_the_same(self, beectl, mesh, context, tmp_path):
        refused, _ = join(beectl, context, tmp_path, "web9", "--renew", code=ExitCode.INVALID)
        assert "web9: no certificate of it stands in the ledger" in refused.stderr
