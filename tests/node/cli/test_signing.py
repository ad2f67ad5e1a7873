"""Certificates that are signed only when they have to be, for as long as asked, with a root that lies elsewhere."""

import json
import time

import pytest

from beemesh_node.cli.errors import ExitCode
from tests.node.cli.test_joining import NONCE, ask_to_join, facts

DAY_MS = 86_400_000


class Desk:
    """Where one machine's request is signed."""

    def __init__(self, beectl, mesh_dir, tmp_path):
        self.beectl, self.mesh_dir, self.directory = beectl, mesh_dir, tmp_path
        self.mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]
        self.request = ask_to_join(tmp_path / "state", self.mesh_id)
        self.bundle = tmp_path / "bundle"

    def words(self, *options):
        options = ("--name", "web1", *options) if "--name" not in options else options
        out = ("--request", self.request, "--out", self.bundle)
        return ("cert", "sign", "--dir", self.mesh_dir, *out, *options)

    def sign(self, *options, **how):
        return self.beectl.json(*self.words("--if-changed", *options), **how)


@pytest.fixture
def desk(beectl, mesh_dir, tmp_path):
    return Desk(beectl, mesh_dir, tmp_path)


def test_what_was_signed_stays_while_nothing_changes(desk):
    first = desk.sign("--label", "region=eu")
    raw = desk.bundle.read_bytes()
    again = desk.sign("--label", "region=eu")
    assert (first["changed"], again["changed"]) == (True, False)
    assert desk.bundle.read_bytes() == raw
    assert again["reasons"] == []
    assert {key: again[key] for key in ("serial", "machine_id", "labels")} == {
        key: first[key] for key in ("serial", "machine_id", "labels")
    }
    assert facts("join", "--state", desk.directory / "state", "--bundle", desk.bundle)["changed"]


def test_without_the_option_it_is_signed_every_time(desk):
    serials = {desk.beectl.json(*desk.words())["serial"] for _ in range(2)}
    assert len(serials) == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--label", "region=us"), "other labels are wanted"),
        (("--no-guardian",), "another guardian flag is wanted"),
        (("--ending-within", "3700d"), "it ends soon"),
        (("--name", "web2"), "nothing was signed under this name"),
    ],
)
def test_why_it_is_signed_anew(desk, options, reason):
    first = desk.sign()
    second = desk.sign(*options)
    assert second["changed"]
    assert reason in second["reasons"]
    assert second["serial"] != first["serial"]
    assert not desk.sign(*options, *(() if "--ending-within" not in options else ("--ending-within", "1d")))["changed"]


def test_a_bundle_that_is_gone_or_another_is_made_anew(desk):
    desk.sign()
    desk.bundle.unlink()
    assert desk.sign()["reasons"] == ["its bundle is not there"]
    desk.bundle.write_bytes(b"something else")
    assert desk.sign()["reasons"] == ["the bundle there is another"]


def test_another_request_is_answered(desk):
    first = desk.sign()
    desk.request = ask_to_join(desk.directory / "state", desk.mesh_id, "cd" * 32)
    second = desk.sign()
    assert second["reasons"] == ["it answers another request"]
    assert second["machine_id"] == first["machine_id"]


def test_a_dry_run_says_the_same_and_does_nothing(desk, tmp_path):
    ledger = (desk.mesh_dir / "ledger.json").read_text()
    planned = desk.sign("--dry-run")
    assert (planned["changed"], planned["reasons"]) == (True, ["nothing was signed under this name"])
    assert not desk.bundle.exists()
    desk.beectl(*desk.words("--dry-run", "--nonce", "cd" * 32), code=ExitCode.FAILURE)
    assert json.loads((desk.mesh_dir / "ledger.json").read_text()) == json.loads(ledger)
    desk.sign()
    assert not desk.sign("--dry-run")["changed"]


def test_an_unchanged_certificate_needs_no_passphrase(beectl, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    given = {"BEEMESH_PASSPHRASE_FILE": str(secret)}
    beectl("mesh", "init", "--dir", tmp_path / "m", "--encrypt", env=given)
    desk = Desk(beectl, tmp_path / "m", tmp_path)
    beectl(*desk.words("--if-changed"), code=ExitCode.AUTHENTICATION)
    assert desk.sign("--dry-run")["changed"]
    assert desk.sign(env=given)["changed"]
    assert not desk.sign()["changed"]


def test_a_certificate_lasts_as_long_as_asked(desk):
    now = time.time() * 1000
    signed = desk.sign("--not-before", "-2h", "--not-after", "+30d")
    assert abs(signed["not_before"] - (now - 2 * 3_600_000)) < 60_000
    assert abs(signed["not_after"] - (now + 30 * DAY_MS)) < 60_000
    fixed = desk.beectl.json(*desk.words("--not-before", "2027-03-01T12:00:00Z", "--not-after", "20370301120000Z"))
    assert (fixed["not_before"], fixed["not_after"]) == (1_803_902_400_000, 2_119_521_600_000)


def test_other_times_count_only_when_they_are_compared(desk):
    desk.sign("--not-after", "+30d")
    assert not desk.sign("--not-after", "+60d")["changed"]
    assert not desk.sign("--not-after", "+30d", "--compare-times")["changed"]
    assert desk.sign("--not-after", "+60d", "--compare-times")["reasons"] == ["its end is another"]
    assert desk.sign("--not-before", "-1d", "--not-after", "+60d", "--compare-times")["reasons"] == [
        "its beginning is another"
    ]


def test_what_has_expired_is_signed_anew(desk):
    desk.sign("--not-before", "-2d", "--not-after", "-1d")
    assert desk.sign()["reasons"] == ["it has expired"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--not-after", "tomorrow"), "is no time"),
        (("--not-after", "2027-03-01T12:00:00"), "is no time"),
        (("--not-after", "+3 moons"), "is no duration"),
        (("--not-before", "+2d", "--not-after", "+1d"), "ends before it begins"),
    ],
)
def test_times_that_are_none_are_refused(desk, options, said):
    assert said in desk.beectl(*desk.words(*options), code=ExitCode.INVALID).stderr
    assert not desk.bundle.exists()


def test_a_root_that_never_lay_in_the_directory(beectl, tmp_path):
    root, mesh_dir = tmp_path / "vault" / "root.key", tmp_path / "m"
    made = beectl.json("keys", "generate", root, "--kind", "mesh-root")
    mesh = beectl.json("mesh", "init", "--dir", mesh_dir, "--root-key", root)
    assert mesh["mesh_id"] == made["fingerprint"]
    assert not (mesh_dir / "root.key").exists()
    desk = Desk(beectl, mesh_dir, tmp_path)
    assert "no root key" in beectl(*desk.words(), code=ExitCode.INVALID).stderr
    assert desk.sign("--root-key", root)["root"] == made["fingerprint"]
    assert not desk.sign()["changed"]
    other = tmp_path / "vault" / "other.key"
    beectl("keys", "generate", other, "--kind", "mesh-root")
    assert desk.sign("--root-key", other, "--dry-run")["reasons"] == ["another root signs now"]


def test_one_passphrase_guards_a_root_from_elsewhere_and_the_operator(beectl, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    given = {"BEEMESH_PASSPHRASE_FILE": str(secret)}
    root, mesh_dir = tmp_path / "root.key", tmp_path / "m"
    root.parent.chmod(0o700)
    beectl("keys", "generate", root, "--kind", "mesh-root", "--encrypt", env=given)
    beectl("mesh", "init", "--dir", mesh_dir, "--root-key", root, "--encrypt", code=ExitCode.AUTHENTICATION)
    beectl("mesh", "init", "--dir", mesh_dir, "--root-key", root, "--encrypt", env=given)
    assert beectl.json("keys", "inspect", mesh_dir / "operator.key", "--unlock", env=given)["kind"] == "operator"


def test_an_operator_is_signed_anew_for_other_rights(beectl, mesh_dir, tmp_path):
    mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]
    beectl("keys", "request", "--dir", tmp_path / "ci", "--mesh", mesh_id, "--nonce", NONCE, "--out", tmp_path / "r")
    sign = ("cert", "operator", "--dir", mesh_dir, "--request", tmp_path / "r", "--name", "ci", "--namespace", "shop")
    sign += ("--out", tmp_path / "b", "--if-changed", "--verb", "get")
    assert [beectl.json(*sign)["changed"] for _ in range(2)] == [True, False]
    assert beectl.json(*sign, "--verb", "apply")["reasons"] == ["other verbs are wanted"]
