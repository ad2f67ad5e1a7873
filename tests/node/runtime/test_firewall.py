"""No pod on the bridge reaches the machine plane; everything else of its network works."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from beemesh_node.runtime import RuntimeConfig, RuntimeUnavailableError, open_runtime
from beemesh_node.runtime.firewall import ensure_firewall
from beemesh_node.workloads.pod import ContainerPort, HttpGetAction, Probe, TcpSocketAction
from tests.node.runtime.podman_service import INTERFACE, SUBNET, PodmanService
from tests.node.runtime.pods import DEADLINE, bridged, idle, run_in, shell, until

GATEWAY = SUBNET.replace("0/24", "1")
PROTECTED, OPEN = 27_400, 27_405
SERVER = "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"
FETCH = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {} {}"
REACH = "nc -w 1 {} {} < /dev/null > /dev/null 2>&1 && echo reached || echo refused"


async def test_a_pod_reaches_its_host_port_and_others_but_no_protected_port(config: RuntimeConfig) -> None:
    config = replace(config, protected_ports=(PROTECTED,))
    serving = bridged(shell(SERVER, ports=(ContainerPort(80, host_port=OPEN + 1),)))
    asking = bridged(idle())
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        for port in (PROTECTED, OPEN):
            await nursery.start(trio.serve_tcp, trio.abc.Stream.aclose, port)
        await runtime.start(serving)
        await runtime.start(asking)
        found = await until(runtime, serving, lambda status: status.pod_ip != "")
        assert await run_in(runtime, asking, REACH.format(GATEWAY, OPEN)) == "reached"
        assert await run_in(runtime, asking, REACH.format(GATEWAY, PROTECTED)) == "refused"
        for address in machine_addresses():
            assert await run_in(runtime, asking, REACH.format(address, PROTECTED)) == "refused"
        for address, port in ((GATEWAY, OPEN + 1), (found.pod_ip, 80)):
            assert "hello" in await run_in(runtime, asking, FETCH.format(address, port))
        assert await connects("127.0.0.1", OPEN + 1)
        assert await connects("127.0.0.1", PROTECTED)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            for spec in (serving, asking):
                await runtime.remove(spec.identity)


async def test_rules_that_somebody_flushed_come_back(config: RuntimeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beemesh_node.runtime.runtime.FIREWALL_SECONDS", 0.05)
    table = ["nft", "list", "table", "inet", f"beemesh_{INTERFACE}"]
    async with open_runtime(config):
        await trio.run_process(["nft", "delete", *table[2:]])
        with trio.fail_after(DEADLINE):
            while (await trio.run_process(table, check=False, capture_stdout=True, capture_stderr=True)).returncode:
                pass


async def test_iptables_does_where_there_is_no_nft(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("iptables", "ip6tables"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        for _ in range(2):
            await ensure_firewall("bmrt-none0", (PROTECTED,))
        for command, jumps in (("iptables", "INPUT"), ("ip6tables", "FORWARD")):
            found = output(command, "-S")
            assert "127.0.0.0/8" in found or command == "ip6tables"
            assert found.count(f"-A {jumps} -j BEEMESH-{jumps}-bmrt-none0") == 1
            assert f"-A BEEMESH-{jumps}-bmrt-none0 -i bmrt-none0" in found
            assert str(PROTECTED) in found
    finally:
        for command in ("iptables", "ip6tables"):
            for parent in ("INPUT", "FORWARD"):
                chain = f"BEEMESH-{parent}-bmrt-none0"
                for rule in (["-D", parent, "-j", chain], ["-F", chain], ["-X", chain]):
                    output(command, "-w", *rule)


async def test_without_a_firewall_there_is_no_runtime(config: RuntimeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeUnavailableError, match="install nftables"):
        async with open_runtime(config):
            raise AssertionError("opened without a firewall")


async def test_probes_ask_by_the_network(config: RuntimeConfig, podman: PodmanService) -> None:
    quick = Probe(HttpGetAction(80, "/index.html"), period_seconds=0.2)
    ready = shell(
        f"{SERVER}",
        readiness_probe=quick,
        liveness_probe=Probe(TcpSocketAction(80), period_seconds=0.2),
        startup_probe=Probe(TcpSocketAction(80), period_seconds=0.2, failure_threshold=100),
    )
    spec = bridged(ready)
    async with open_runtime(config) as runtime:
        await runtime.start(spec)
        status = await until(runtime, spec, lambda status: status.ready)
        assert status.containers[0].started
        await run_in(runtime, spec, "mv /www/index.html /www/gone.html")
        await until(runtime, spec, lambda status: not status.ready)
        assert runtime.pods()[0].containers[0].restart_count == 0
        await run_in(runtime, spec, "mv /www/gone.html /www/index.html")
        await until(runtime, spec, lambda status: status.ready)
        await runtime.remove(spec.identity)


async def connects(address: str, port: int) -> bool:
    with trio.fail_after(DEADLINE):
        async with await trio.open_tcp_stream(address, port):
            return True


def machine_addresses() -> list[str]:
    """Every IPv4 address of this machine that a pod could send to."""
    found = [line.split()[3].partition("/")[0] for line in output("ip", "-4", "-o", "addr").splitlines()]
    return [address for address in found if not address.startswith("127.")]


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
