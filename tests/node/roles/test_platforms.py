"""What differs between systems is data: complete for each of them, and right where that can be told here."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import jinja2
import pytest
import yaml

NODE = Path(__file__).parents[3] / "roles" / "node"
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
    assert (NODE / "templates" / said["node_unit"]["template"]).is_file()
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


def test_the_service_of_openrc_is_a_shell_script(tmp_path: Path) -> None:
    template = (NODE / "templates" / "beemeshd.openrc.j2").read_text()
    script = tmp_path / "beemeshd"
    script.write_text(
        jinja2.Template(template).render(
            ansible_managed="", node_prefix="/opt/beemesh", node_state="/var/lib/beemesh", node_socket="/run/b.sock"
        )
    )
    subprocess.run(["sh", "-n", script], check=True)
    assert 'command="/opt/beemesh/venv/bin/beemeshd"' in script.read_text()
