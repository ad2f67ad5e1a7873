"""What the lab finds of a computer: programs by their names, wherever a distribution puts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from labs import host, scenario
from labs.run import LabError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A computer with nothing but two empty directories: one of the PATH, and one of Podman's helpers."""
    found = [tmp_path / "bin", tmp_path / "libexec" / "podman"]
    for each in found:
        each.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(found[0]))
    monkeypatch.setattr(host, "_PLACES", (str(found[1]),))
    return found


def program(place: Path, name: str) -> None:
    (place / name).touch(0o755)


def test_programs_may_be_anywhere(places: list[Path]) -> None:
    here = host.detect()
    missing = host.missing_programs(here)
    assert {"podman": "podman", "nft": "nftables", here.oci_runtime: here.oci_runtime}.items() <= missing.items()
    assert "tcpdump" not in missing
    for name in missing:
        program(places[name in ("netavark", "catatonit")], name)
    assert host.missing_programs(here) == {}
    assert set(host.missing_programs(here, testing=True)) == {"flatc", "ps", "tcpdump"}


def test_helpers_of_podman_are_looked_for_where_it_does() -> None:
    assert {"/usr/libexec/podman", "/usr/lib/podman", "/usr/local/libexec/podman"} <= set(host._PLACES)


def test_without_apt_programs_are_named(places: list[Path]) -> None:
    with pytest.raises(LabError) as error:
        host.install({"nft": "nftables", "ip": "iproute2"})
    assert "lacks nft, ip (Debian's packages: nftables iproute2) and is no Debian" in str(error.value)


def test_a_scenario_installs_nothing(places: list[Path]) -> None:
    program(places[0], "apt-get")  # which would fail: it is empty
    with pytest.raises(LabError, match=r"lacks podman, netavark, .*: install them; on Debian \./lab molecule does"):
        scenario._variables()
