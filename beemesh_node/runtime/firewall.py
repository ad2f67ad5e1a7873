"""Keeping pods away from the machine plane.

A pod on the bridge could reach the node's port by the gateway, by any other address of this machine, and on every
other machine of the mesh. So packets that come in by the pods' interface for a protected port are dropped, both those
for this machine (input) and those that leave it (forward). Packets between pods, and to a hostPort (rewritten to a
pod's address before these chains), stay in the bridge and pass. So do hostNetwork pods, which need an operator's verb.

Netavark lets packets for 127.0.0.0/8 through when it publishes a hostPort there, so a pod that forges them could talk
to anything on the machine's loopback; only answers to what the machine itself asked may come in that way.

The rules are a table of their own in nftables: a drop there is final whatever Podman, firewalld or an administrator
accept elsewhere, and `iptables -F` or a firewalld reload does not touch it. `nft flush ruleset` does; hence `ensure` is
called again from time to time. Where there is no nft, the same is done with iptables and ip6tables.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

import trio

from beemesh_node.runtime.errors import RuntimeUnavailableError

COMMAND_TIMEOUT = 10.0
_CHAINS = (("INPUT", "BEEMESH-INPUT"), ("FORWARD", "BEEMESH-FORWARD"))


async def ensure_firewall(interface: str, ports: Sequence[int]) -> None:
    """Have the rules in place for one interface of pods; changes nothing when they are.

    Raises RuntimeUnavailableError if they are not in place afterwards.
    """
    if not ports:
        return
    if shutil.which("nft"):
        await _run(("nft", "-f", "-"), nft_rules(interface, ports))
        return
    if not shutil.which("iptables"):
        raise RuntimeUnavailableError(
            f"pods on {interface} cannot be kept from ports {_listed(ports)}: install nftables (or iptables)"
        )
    for command in ("iptables", "ip6tables"):
        if shutil.which(command):
            await _iptables(command, interface, ports)


def nft_rules(interface: str, ports: Sequence[int]) -> str:
    """The table of one interface, replaced as a whole and in one transaction."""
    table = f"inet beemesh_{interface.replace('-', '_')}"
    listed = ", ".join(str(port) for port in sorted(ports))
    return f"""table {table}
delete table {table}
table {table} {{
    chain input {{
        type filter hook input priority -10; policy accept;
        iifname "{interface}" ip daddr 127.0.0.0/8 ct state != {{ established, related }} drop
        iifname "{interface}" tcp dport {{ {listed} }} drop
        iifname "{interface}" udp dport {{ {listed} }} drop
    }}
    chain forward {{
        type filter hook forward priority -10; policy accept;
        iifname "{interface}" oifname != "{interface}" tcp dport {{ {listed} }} drop
        iifname "{interface}" oifname != "{interface}" udp dport {{ {listed} }} drop
    }}
}}
"""


async def _iptables(command: str, interface: str, ports: Sequence[int]) -> None:
    listed = _listed(ports)
    for parent, base in _CHAINS:
        chain = f"{base}-{interface}"[:28]
        await _run((command, "-w", "-N", chain), check=False)
        await _run((command, "-w", "-F", chain))
        outward = ("!", "-o", interface) if parent == "FORWARD" else ()
        if parent == "INPUT" and command == "iptables":
            fresh = ("-m", "conntrack", "!", "--ctstate", "ESTABLISHED,RELATED")
            await _run((command, "-w", "-A", chain, "-i", interface, "-d", "127.0.0.0/8", *fresh, "-j", "DROP"))
        for protocol in ("tcp", "udp"):
            ports_match = ("-p", protocol, "-m", "multiport", "--dports", listed)
            await _run((command, "-w", "-A", chain, "-i", interface, *outward, *ports_match, "-j", "DROP"))
        # First again, in case others put an ACCEPT before it.
        await _run((command, "-w", "-D", parent, "-j", chain), check=False)
        await _run((command, "-w", "-I", parent, "1", "-j", chain))


async def _run(command: Sequence[str], text: str = "", *, check: bool = True) -> None:
    try:
        with trio.fail_after(COMMAND_TIMEOUT):
            done = await trio.run_process(
                command, stdin=text.encode(), check=False, capture_stdout=True, stderr=subprocess.STDOUT
            )
    except (OSError, trio.TooSlowError) as error:
        raise RuntimeUnavailableError(f"firewall: {' '.join(command)}: {error!r}; run it by hand as root") from error
    if check and done.returncode != 0:
        said = done.stdout[:500].decode(errors="replace").strip()
        raise RuntimeUnavailableError(f"firewall: {' '.join(command)}: {said}; run it by hand as root")


def _listed(ports: Sequence[int]) -> str:
    return ",".join(str(port) for port in sorted(ports))
