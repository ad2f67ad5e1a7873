"""What differs between systems is data: complete for each of them, and right where that can be told here."""

import importlib.util
import os
import pwd
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule

from beemesh_node.runtime.guard.launch import DOOR
from beemesh_node.runtime.privileges import CHILDREN, PROCESSES, SIGNALS, VOLUMES

NODE = Path(__file__).parents[3] / "roles" / "node"
LISTEN = NODE / "files" / "listen.py"
PLATFORMS = sorted(path for path in (NODE / "vars").glob("*.yml") if path.name != "main.yml")


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", NODE / "files" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_system_says_the_same_things() -> None:
    said = {path.name: set(yaml.safe_load(path.read_text())) for path in PLATFORMS}
    assert {"Alpine.yml", "Debian.yml", "RedHat.yml", "RedHat-9.yml"} <= set(said)
    assert [name for name, keys in said.items() if keys != said["Debian.yml"]] == []


@pytest.mark.parametrize("path", PLATFORMS, ids=lambda path: path.stem)
def test_what_it_names_is_there(path: Path, release: ModuleType) -> None:
    said = yaml.safe_load(path.read_text())
    for unit in said["node_units"]:
        assert (NODE / "templates" / unit["template"]).is_file()
    # The daemon's comes first: it is started last.
    assert Path(said["node_units"][0]["path"]).stem == "beemeshd"
    made = {Path(unit["path"]).name for unit in said["node_units"]}
    assert {name for name in said["node_services"] if name.startswith("beemesh")} <= made
    assert release.platforms(said["node_libc"], "aarch64")
    assert "podman" in said["node_packages"]


def test_no_wheel_for_a_newer_c_library_is_taken(release: ModuleType) -> None:
    assert release.platforms("musl-1.2", "aarch64") == [
        "musllinux_1_2_aarch64",
        "musllinux_1_1_aarch64",
        "linux_aarch64",
    ]
    glibc = release.platforms("glibc-2.34", "x86_64")
    assert glibc[0] == "manylinux_2_34_x86_64"
    assert "manylinux2014_x86_64" in glibc
    assert not [name for name in glibc if "musl" in name]


@pytest.mark.parametrize("libc", ["", "glibc", "uclibc-1.0", "musl-new"])
def test_a_c_library_that_is_none_is_refused(release: ModuleType, libc: str) -> None:
    with pytest.raises(SystemExit, match="--libc"):
        release.platforms(libc, "x86_64")


def rendered(platform: str, port: int = 7400) -> dict[str, str]:
    """What the role would write on such a machine, by the name of the file."""
    said = yaml.safe_load((NODE / "vars" / f"{platform}.yml").read_text())
    values = {
        "ansible_managed": "",
        "node_prefix": "/opt/beemesh",
        "node_state": "/var/lib/beemesh",
        "node_socket": "/run/beemesh/beemeshd.sock",
        "node_port": port,
        **yaml.safe_load((NODE / "vars" / "main.yml").read_text()),
        **said,
    }
    environment = jinja2.Environment(keep_trailing_newline=True)
    environment.filters.update(FilterModule().filters())
    values["node_capabilities"] = environment.from_string(values["node_capabilities"]).render(values).strip()
    files = [(unit["template"], Path(unit["path"]).name) for unit in said["node_units"]] + [
        ("prepare.sh.j2", "prepare"),
        ("started.sh.j2", "started"),
    ]
    return {
        name: environment.from_string((NODE / "templates" / template).read_text()).render(values)
        for template, name in files
    }


def test_what_openrc_and_root_run_are_shell_scripts(tmp_path: Path) -> None:
    scripts = rendered("Alpine")
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        subprocess.run(["sh", "-n", tmp_path / name], check=True)
    assert 'command="/opt/beemesh/venv/bin/beemeshd"' in scripts["beemeshd"]
    assert 'command_user="beemesh:beemesh"' in scripts["beemeshd"]


def test_the_daemon_may_what_its_code_takes_up_and_no_more() -> None:
    wanted = {f"CAP_{each.name}" for each in (*VOLUMES, *PROCESSES, *SIGNALS, *CHILDREN)}
    unit = dict(line.split("=", 1) for line in rendered("Debian")["beemeshd.service"].splitlines() if "=" in line)
    assert set(unit["AmbientCapabilities"].split()) == wanted
    assert set(unit["CapabilityBoundingSet"].split()) == wanted
    assert (unit["User"], unit["Group"], unit["NoNewPrivileges"]) == ("beemesh", "beemesh", "yes")
    (openrc,) = (line for line in rendered("Alpine")["beemeshd"].splitlines() if line.startswith("capabilities="))
    assert set(openrc.partition("=")[2].strip('"').split(",")) == {f"^{name.lower()}" for name in wanted}


def test_a_port_of_the_system_needs_one_more() -> None:
    assert "CAP_NET_BIND_SERVICE" in rendered("Debian", port=443)["beemeshd.service"]
    assert "CAP_NET_BIND_SERVICE" not in rendered("Debian")["beemeshd.service"]


def test_what_the_units_and_the_program_know_of_each_other_is_the_same() -> None:
    units = rendered("Debian")
    assert f"ListenSequentialPacket={DOOR}\n" in units["beemesh-guard.socket"]
    assert f" {DOOR} " in rendered("Alpine")["beemesh-guard"]
    assert "ListenStream=/run/beemesh-podman.sock\n" in units["beemesh-podman.socket"]


def test_what_root_made_becomes_the_daemons_but_not_what_is_in_volumes(tmp_path: Path) -> None:
    state, memory = tmp_path / "state", tmp_path / "memory"
    pod = "0b7f6e0e-43bd-4b31-a4d9-5f3c8a3f2c1e"
    ours = ["machine.key", f"pods/pods/{pod}/holder", "pods/local/default/.mark"]
    theirs = [f"pods/pods/{pod}/volumes/data/file", "pods/local/default/db-0/log"]
    for place in (state, memory):
        for name in (*ours, *theirs):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text("")
        (place / theirs[0]).chmod(0o640)
        os.chown(place / theirs[0], 0, 2000)
    os.chown(state / "machine.key", 12345, 12345)  # of the system before, which had another id for the user
    (tmp_path / "linked").symlink_to(state)
    text = rendered("Debian")["prepare"]
    for name, value in (("user", "nobody"), ("state", str(tmp_path / "linked")), ("memory", str(memory))):
        text = re.sub(f"(?m)^{name}=.*$", f"{name}={value}", text)
    text = text.replace('"$user:$user"', '"$user"')  # Debian's nobody has no group of that name

    def run(*words: str) -> str:
        return subprocess.run(["sh", "-s", *words], input=text, text=True, check=True, capture_output=True).stdout

    assert f"{state}/machine.key\n" in run("own")
    assert run("own") == ""
    (memory / "machine.key").chmod(0o600)
    os.chown(memory / "machine.key", 0, 0)
    assert run() == ""
    nobody = pwd.getpwnam("nobody").pw_uid
    for place in (state, memory):
        assert place.stat().st_uid == nobody
        assert (place / f"pods/pods/{pod}/volumes").stat().st_uid == nobody
        assert (place / ours[0]).stat().st_uid == (place / ours[1]).stat().st_uid == nobody
        kept = [(place / name).stat() for name in (f"pods/pods/{pod}/volumes/data", *theirs, "pods/local/default/db-0")]
        assert [each.st_uid for each in kept] == [0] * 4
        assert kept[1].st_gid == 2000
    assert memory.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("platform", [path.stem for path in PLATFORMS])
def test_what_runs_with_something_else_than_what_is_installed(tmp_path: Path, platform: str) -> None:
    text = re.sub(r"(?<![\w.])/(etc|opt|run)/", rf"{tmp_path}/\1/", rendered(platform)["started"])
    for path in set(re.findall(rf"{tmp_path}/\S+", text)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if not path.endswith("beemesh-started"):
            Path(path).touch()
    (tmp_path / "bin").mkdir()
    systemctl = tmp_path / "bin" / "systemctl"

    def started(*service: str, reload: str = "no") -> list[str]:
        systemctl.write_text(f"#!/bin/sh\necho {reload}\n")
        systemctl.chmod(0o755)
        words = ["sh", "-c", text, "started", *service]
        environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
        return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.split()

    units = yaml.safe_load((NODE / "vars" / f"{platform}.yml").read_text())["node_units"]
    services = list(dict.fromkeys(unit["service"] for unit in units))
    assert services[0] == "beemeshd"
    assert set(started()) == set(services)
    assert started()[-1] == "beemeshd"
    for service in services:
        started(service)
    assert started() == []
    for unit in units:
        path = Path(f"{tmp_path}{unit['path']}")
        path.write_text("other")
        os.utime(path, (0, 0))
        assert started() == [unit["service"]]
        # systemd has not read it yet, and starts what it has read.
        started(unit["service"], reload="yes")
        assert started() == [unit["service"]]
        started(unit["service"])
        assert started() == []
    (tmp_path / "opt/beemesh/venv/release").write_text("two")
    assert started() == ["beemeshd"]
    (tmp_path / "run/beemesh/beemeshd.sock").unlink()
    assert started() == []


def test_services_note_what_they_are_started_with() -> None:
    for path in PLATFORMS:
        texts = rendered(path.stem)
        for service in ("beemeshd", "beemesh-podman", "beemesh-guard"):
            name = next(name for name in (f"{service}.socket", f"{service}.service", service) if name in texts)
            assert re.search(rf"/started\"? {service}(\.socket)?( \|\| true)?\n", texts[name]), name


def test_a_socket_without_systemd_is_handed_to_the_command(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    told = "import os, socket; c, _ = socket.socket(fileno=3).accept(); c.sendall(os.environ['LISTEN_FDS'].encode())"
    with subprocess.Popen([sys.executable, "-I", "-S", LISTEN, path, sys.executable, "-c", told]) as process:
        with connected(path, socket.SOCK_STREAM) as client:
            assert client.recv(9) == b"1"
        assert process.wait(10) == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_connection_has_a_command_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "guard.sock"
    told = "import os; asked = os.read(0, 99); os.write(0, asked + str(os.getppid()).encode())"
    command = [sys.executable, "-I", "-S", LISTEN, "--accept", path, sys.executable, "-c", told]
    with subprocess.Popen(command) as process:
        for asked in (b"one", b"two"):
            with connected(path, socket.SOCK_SEQPACKET) as client:
                client.send(asked)
                assert client.recv(99) == asked + str(process.pid).encode()
        process.terminate()


@contextmanager
def connected(path: Path, kind: int) -> Iterator[socket.socket]:
    deadline = time.monotonic() + 10
    while True:
        client = socket.socket(socket.AF_UNIX, kind)
        try:
            client.connect(str(path))
            break
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    client.settimeout(10)
    with client:
        yield client
