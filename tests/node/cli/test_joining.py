"""From nothing to a mesh with machines and operators: keys stay where they were made, certificates travel."""

import json
import stat

import pytest
from click.testing import CliRunner

from beemesh_node.cli.errors import ExitCode
from beemesh_node.daemon.enrolment import load_membership
from beemesh_node.daemon.main import cli as beemeshd_cli

NONCE = "ab" * 32
ADDRESS = "/ip4/192.0.2.7/tcp/7400/p2p/{}"


def beemeshd(*arguments, code=0):
    result = CliRunner().invoke(beemeshd_cli, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def facts(*arguments):
    return json.loads(beemeshd(*arguments, "-o", "json").stdout)


def ask_to_join(state, mesh_id, nonce=NONCE):
    beemeshd("keys", "generate", "--state", state)
    beemeshd("keys", "request", "--state", state, "--mesh", mesh_id, "--nonce", nonce, "--out", state / "request")
    return state / "request"


def test_a_mesh_is_made_once(beectl, tmp_path):
    made = beectl.json("mesh", "init", "--dir", tmp_path / "m", "--name", "home")
    again = beectl.json("mesh", "init", "--dir", tmp_path / "m", "--if-missing")
    refused = beectl("mesh", "init", "--dir", tmp_path / "m", code=ExitCode.INVALID)
    assert (made["changed"], again["changed"]) == (True, False)
    assert made["mesh_id"] == again["mesh_id"]
    assert "not empty" in refused.stderr
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".m.")] == []


def test_a_mesh_fits_into_an_empty_directory_that_is_there(beectl, tmp_path):
    (tmp_path / "m").mkdir(mode=0o700)
    assert beectl.json("mesh", "init", "--dir", tmp_path / "m")["changed"]


def test_everything_in_a_mesh_directory_is_for_its_owner_alone(mesh_dir):
    assert stat.S_IMODE(mesh_dir.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in mesh_dir.iterdir()}
    assert {"root.key", "operator.key", "operator.cert", "trust.bundle", "network.key", "epoch.json"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_info_tells_who_may_do_what(beectl, mesh_dir):
    info = beectl.json("mesh", "info", "--dir", mesh_dir)
    assert info["name"] == "home"
    assert len(bytes.fromhex(info["mesh_id"])) == 32
    assert (info["namespaces"], info["verbs"], info["signs"]) == (["*"], ["*"], True)


def test_a_machine_joins(beectl, mesh_dir, tmp_path):
    state, bundle = tmp_path / "state", tmp_path / "bundle"
    mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]
    peer = facts("keys", "generate", "--state", state)["peer_id"]
    request = ask_to_join(state, mesh_id)
    address, other = ADDRESS.format(peer), ADDRESS.format("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")
    sign = ("cert", "sign", "--dir", mesh_dir, "--request", request, "--role", "machine", "--name", "web1")
    signed = beectl.json(
        *sign, "--label", "region=eu", "--bootstrap", other, "--address", address, "--nonce", NONCE, "--out", bundle
    )
    joined = facts("join", "--state", state, "--bundle", bundle)
    again = facts("join", "--state", state, "--bundle", bundle)
    membership = load_membership(state)
    assert (joined["changed"], again["changed"]) == (True, False)
    assert joined["machine_id"] == signed["machine_id"] == membership.certificate.machine_id
    assert membership.certificate.labels == {"region": "eu"}
    assert membership.bootstrap == (other,)
    assert membership.network_key.hex() == (mesh_dir / "network.key").read_text().strip()
    assert membership.epoch == 1
    assert beectl.json("context", "show", "--dir", mesh_dir)["bootstrap"] == [address, other]
    assert {path.name for path in state.iterdir() if path.name.startswith("pending")} == set()


def test_keys_are_made_once_and_a_request_is_kept_while_it_waits(beectl, mesh_dir, tmp_path):
    state = tmp_path / "state"
    mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]
    request = ("keys", "request", "--state", state, "--mesh", mesh_id, "--nonce", NONCE, "--out", tmp_path / "r")
    assert [facts("keys", "generate", "--state", state)["changed"] for _ in range(2)] == [True, False]
    assert [facts(*request)["changed"] for _ in range(2)] == [True, False]
    assert stat.S_IMODE((state / "machine.key").stat().st_mode) == 0o600


def test_a_renewed_machine_keeps_its_id_and_one_with_new_keys_does_not(beectl, mesh_dir, tmp_path):
    mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]

    def sign(state):
        request = ask_to_join(tmp_path / state, mesh_id)
        sign = ("cert", "sign", "--dir", mesh_dir, "--request", request, "--name", "web1", "--out", tmp_path / "b")
        return beectl.json(*sign)["machine_id"]

    assert sign("one") == sign("one")
    assert sign("two") != sign("one")


@pytest.mark.parametrize("thief", ["another machine", "another request"])
def test_only_the_machine_that_asked_can_open_its_bundle(beectl, mesh_dir, tmp_path, thief):
    mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]
    request = ask_to_join(tmp_path / "state", mesh_id)
    beectl("cert", "sign", "--dir", mesh_dir, "--request", request, "--name", "web1", "--out", tmp_path / "b")
    other = tmp_path / ("other" if thief == "another machine" else "state")
    ask_to_join(other, mesh_id, "cd" * 32)
    beemeshd("join", "--state", other, "--bundle", tmp_path / "b", code=ExitCode.AUTHENTICATION)
    assert not (other / "machine.cert").exists()


def test_a_request_for_another_mesh_or_nonce_is_not_signed(beectl, mesh_dir, tmp_path):
    mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]
    sign = ("cert", "sign", "--dir", mesh_dir, "--name", "x", "--out", tmp_path / "b", "--request")
    foreign = ask_to_join(tmp_path / "a", "00" * 32)
    beectl(*sign, foreign, code=ExitCode.AUTHENTICATION)
    request = ask_to_join(tmp_path / "b1", mesh_id)
    beectl(*sign, request, "--nonce", "cd" * 32, code=ExitCode.FAILURE)
    assert not (tmp_path / "b").exists()


def test_a_member_of_one_mesh_is_not_taken_by_another(beectl, mesh_dir, tmp_path):
    mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]
    request = ask_to_join(tmp_path / "s", mesh_id)
    beectl("cert", "sign", "--dir", mesh_dir, "--request", request, "--name", "a", "--out", tmp_path / "b")
    beemeshd("join", "--state", tmp_path / "s", "--bundle", tmp_path / "b")
    foreign = ("--mesh", "00" * 32, "--nonce", NONCE, "--out", tmp_path / "r")
    refused = beemeshd("keys", "request", "--state", tmp_path / "s", *foreign, code=ExitCode.AUTHENTICATION)
    assert "another mesh" in refused.output


@pytest.mark.parametrize("what", ["--name", "--label", "--bootstrap"])
def test_what_no_certificate_may_say_is_refused_before_anything_is_written(beectl, mesh_dir, tmp_path, what):
    mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]
    request = ask_to_join(tmp_path / "s", mesh_id)
    sign = ["cert", "sign", "--dir", mesh_dir, "--request", request, "--name", "a", "--out", tmp_path / "b"]
    wrong = {"--name": "\n", "--label": "a b=c", "--bootstrap": "/ip4/10.0.0.1/tcp/7400"}[what]
    beectl(*sign, what, wrong, code=ExitCode.INVALID)
    assert not (tmp_path / "b").exists()


def test_steps_out_of_order_say_which_comes_first(tmp_path):
    (tmp_path / "bundle").write_bytes(b"x")
    no_keys = ("keys", "request", "--state", tmp_path, "--mesh", "00" * 32, "--nonce", NONCE, "--out", tmp_path / "r")
    assert "keys generate" in beemeshd(*no_keys, code=ExitCode.AUTHENTICATION).output
    beemeshd("keys", "generate", "--state", tmp_path / "s")
    answer = beemeshd("join", "--state", tmp_path / "s", "--bundle", tmp_path / "bundle", code=ExitCode.AUTHENTICATION)
    assert "keys request" in answer.output
    beemeshd("join", "--state", tmp_path / "s", "--bundle", tmp_path / "nothing", code=ExitCode.AUTHENTICATION)


def test_an_operator_with_few_rights_makes_its_own_keys(beectl, mesh_dir, tmp_path):
    shop = tmp_path / "shop"
    mesh_id = beectl.json("mesh", "info", "--dir", mesh_dir)["mesh_id"]
    beectl("keys", "request", "--dir", shop, "--mesh", mesh_id, "--out", tmp_path / "r")
    rights = ("--name", "ci", "--namespace", "shop", "--verb", "get", "--verb", "apply")
    beectl("cert", "operator", "--dir", mesh_dir, "--request", tmp_path / "r", *rights, "--out", tmp_path / "b")
    beectl("mesh", "join", "--dir", shop, "--bundle", tmp_path / "b")
    info = beectl.json("mesh", "info", "--dir", shop)
    assert (info["operator"], info["namespaces"], info["verbs"]) == ("ci", ["shop"], ["get", "apply"])
    assert not info["signs"]
    assert not (shop / "epoch.json").exists()
    assert beectl.json("context", "show", "--dir", shop)["namespace"] == "shop"
    beectl("cert", "sign", "--dir", shop, "--request", tmp_path / "r", "--name", "x", "--out", tmp_path / "z", code=2)


def test_a_certificate_is_shown_only_to_those_who_trust_its_root(beectl, mesh_dir, tmp_path):
    shown = beectl.json("cert", "inspect", mesh_dir / "operator.cert", "--dir", mesh_dir)
    assert (shown["name"], shown["role"], shown["verbs"]) == ("admin", "operator", ["*"])
    beectl("mesh", "init", "--dir", tmp_path / "other")
    beectl("cert", "inspect", mesh_dir / "operator.cert", "--dir", tmp_path / "other", code=ExitCode.AUTHENTICATION)


def test_a_passphrase_guards_root_and_operator(beectl, tmp_path, monkeypatch):
    secret, wrong = tmp_path / "secret", tmp_path / "wrong"
    secret.write_text("correct horse\n")
    wrong.write_text("battery staple\n")
    mesh = tmp_path / "m"
    beectl("mesh", "init", "--dir", mesh, "--encrypt", env={"BEEMESH_PASSPHRASE_FILE": str(secret)})
    assert all(key["encrypted"] for key in beectl.json("keys", "show", "--dir", mesh)["keys"])
    request = ask_to_join(tmp_path / "s", beectl.json("mesh", "info", "--dir", mesh)["mesh_id"])
    sign = ("cert", "sign", "--dir", mesh, "--request", request, "--name", "a", "--out", tmp_path / "b")
    refused = beectl(*sign, code=ExitCode.AUTHENTICATION)
    assert "BEEMESH_PASSPHRASE_FILE" in refused.stderr
    beectl(*sign, code=ExitCode.AUTHENTICATION, env={"BEEMESH_PASSPHRASE_FILE": str(wrong)})
    beectl(*sign, env={"BEEMESH_PASSPHRASE_FILE": str(secret)})
    beectl("keys", "passphrase", "--remove", "--dir", mesh, env={"BEEMESH_PASSPHRASE_FILE": str(secret)})
    assert not any(key["encrypted"] for key in beectl.json("keys", "show", "--dir", mesh)["keys"])
    beectl(*sign)
    again = {"BEEMESH_NEW_PASSPHRASE_FILE": str(wrong)}
    beectl("keys", "passphrase", "--dir", mesh, env=again)
    beectl(*sign, env={"BEEMESH_PASSPHRASE_FILE": str(wrong)})


def test_nothing_secret_is_ever_printed(beectl, tmp_path):
    mesh = tmp_path / "m"
    said = beectl("mesh", "init", "--dir", mesh).output
    said += beectl("mesh", "info", "--dir", mesh, "-o", "json").output + beectl("keys", "show", "--dir", mesh).output
    request = ask_to_join(tmp_path / "s", beectl.json("mesh", "info", "--dir", mesh)["mesh_id"])
    sign = ("cert", "sign", "--dir", mesh, "--request", request, "--name", "a", "--out", tmp_path / "b")
    said += beectl(*sign, "-o", "json").output
    secrets = [(mesh / "network.key").read_text().strip(), json.loads((mesh / "epoch.json").read_text())["secret"]]
    secrets += [
        line for name in ("root.key", "operator.key") for line in (mesh / name).read_text().splitlines()[6:-1] if line
    ]
    assert len(secrets) >= 4
    assert not [secret for secret in secrets if secret in said]


class TestContexts:
    def test_the_only_context_is_the_current_one(self, beectl, tmp_path):
        beectl("mesh", "init", "--context", "home", "--name", "home")
        assert beectl.json("context", "show")["mesh"] == "home"

    def test_one_of_several_is_chosen(self, beectl):
        for name in ("one", "two"):
            beectl("mesh", "init", "--context", name, "--name", name)
        beectl("context", "show", code=ExitCode.INVALID)
        beectl("context", "use", "two")
        assert beectl.json("context", "show")["mesh"] == "two"
        assert beectl.json("context", "show", "--context", "one")["mesh"] == "one"
        assert beectl.json("context", "show", env={"BEEMESH_CONTEXT": "one"})["mesh"] == "one"
        listed = {each["name"]: each["current"] for each in beectl.json("context", "list")["contexts"]}
        assert listed == {"one": False, "two": True}

    def test_the_command_line_wins_over_the_environment(self, beectl, mesh_dir, tmp_path):
        environment = {"BEEMESH_DIR": str(tmp_path / "nowhere")}
        assert beectl.json("--dir", mesh_dir, "context", "show", env=environment)["mesh"] == "home"
        beectl("context", "show", env=environment, code=ExitCode.INVALID)

    @pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "x" * 64])
    def test_what_cannot_be_a_name_is_refused(self, beectl, name):
        beectl("context", "use", name, code=ExitCode.INVALID)

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"name": 1}', b"\xff", b"[" * 100_000])
    def test_damaged_settings_are_a_clear_error(self, beectl, mesh_dir, content):
        (mesh_dir / "context.json").write_bytes(content)
        assert "context.json" in beectl("mesh", "info", "--dir", mesh_dir, code=ExitCode.INVALID).stderr
