"""A machine that is to be copied: everything is there but who it is, and nothing runs."""

from testinfra.host import Host

testinfra_hosts = ["podman://beemesh-m-onprem"]


def test_the_release_is_there(host: Host) -> None:
    assert host.run("/opt/beemesh/venv/bin/beemeshd version").rc == 0


def test_the_daemon_is_enabled_and_does_not_run(host: Host) -> None:
    service = host.service("beemeshd.service")
    assert service.is_enabled
    assert not service.is_running


def test_there_is_nothing_that_two_copies_must_not_share(host: Host) -> None:
    assert host.check_output("find /var/lib/beemesh -type f") == ""
