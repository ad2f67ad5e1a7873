"""Which addresses of a machine others are told, and on which it listens."""

import socket
from collections.abc import Sequence

import ifaddr
import pytest

from beemesh_node.network.addresses import Address, parse
from beemesh_node.network.api import ListenFailed
from beemesh_node.network.interfaces import MAX_TOLD, expand, own_addresses
from tests.node.network.meshing import host

EVERYWHERE = [Address("ip4", "0.0.0.0", 7400), Address("ip6", "::", 7400)]


def adapter(name: str, *addresses: str) -> ifaddr.Adapter:
    ips = [ifaddr.IP((text, 0, 0) if ":" in text else text, 64 if ":" in text else 24, name) for text in addresses]
    return ifaddr.Adapter(name, name, ips)


@pytest.fixture
def interfaces(monkeypatch: pytest.MonkeyPatch) -> list[ifaddr.Adapter]:
    found = [adapter("lo", "127.0.0.1", "::1"), adapter("eth0", "192.0.2.7", "2001:db8::7", "fe80::7")]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: found)
    return found


def told(listening: Sequence[Address]) -> list[str]:
    return [str(address) for address in expand(listening)]


def test_a_wildcard_stands_for_what_others_can_dial(interfaces: list[ifaddr.Adapter]) -> None:
    assert told(EVERYWHERE) == ["/ip4/192.0.2.7/tcp/7400", "/ip6/2001:db8::7/tcp/7400"]
    assert told(EVERYWHERE[:1]) == ["/ip4/192.0.2.7/tcp/7400"]
    assert told(EVERYWHERE[1:]) == ["/ip6/2001:db8::7/tcp/7400"]


def test_an_address_that_was_named_is_told_as_it_is(interfaces: list[ifaddr.Adapter]) -> None:
    named = [parse("/ip4/127.0.0.1/tcp/1"), parse("/ip4/198.51.100.1/tcp/2")]
    assert expand(named) == named


def test_what_comes_and_goes_is_seen(interfaces: list[ifaddr.Adapter]) -> None:
    interfaces.append(adapter("wlan0", "198.51.100.9"))
    assert told(EVERYWHERE[:1]) == ["/ip4/192.0.2.7/tcp/7400", "/ip4/198.51.100.9/tcp/7400"]
    del interfaces[1:]
    assert told(EVERYWHERE) == []


@pytest.mark.parametrize(
    "name", ["beemesh0", "podman1", "cni-podman0", "docker0", "br-3f2a5c7d9e1b", "veth12", "virbr0", "cali9"]
)
def test_bridges_of_containers_are_passed_over(interfaces: list[ifaddr.Adapter], name: str) -> None:
    interfaces.append(adapter(name, "10.88.0.1"))
    assert told(EVERYWHERE[:1]) == ["/ip4/192.0.2.7/tcp/7400"]


@pytest.mark.parametrize("name", ["br0", "br-lan", "br-ex", "vmbr0", "bond0", "wg0", "tailscale0", "lan-podman"])
def test_other_interfaces_are_not(interfaces: list[ifaddr.Adapter], name: str) -> None:
    interfaces.append(adapter(name, "10.0.0.1"))
    assert "/ip4/10.0.0.1/tcp/7400" in told(EVERYWHERE[:1])


def test_both_families_have_a_place_among_many(interfaces: list[ifaddr.Adapter]) -> None:
    interfaces.append(adapter("eth1", *(f"198.51.100.{number}" for number in range(30))))
    assert len(told(EVERYWHERE)) == MAX_TOLD
    assert "/ip6/2001:db8::7/tcp/7400" in told(EVERYWHERE)


def test_this_machine_can_be_read() -> None:
    assert not [address for address in own_addresses() if address.is_loopback or address.is_unspecified]


async def test_a_host_tells_no_wildcard() -> None:
    async with host("a", listen=["/ip4/0.0.0.0/tcp/0"]) as a:
        assert [parse(text).host for text in a.addresses()] == [
            str(address) for address in own_addresses() if address.version == 4
        ][:MAX_TOLD]


async def test_a_family_that_the_machine_lacks_is_left_out() -> None:
    # An address of documentation stands for it: it cannot be bound either.
    async with host("a", listen=["/ip4/127.0.0.1/tcp/0", "/ip6/2001:db8::1/tcp/0"]) as a:
        assert [parse(text).host for text in a.addresses()] == ["127.0.0.1"]


async def test_a_port_in_use_is_told_though_another_address_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"/ip4/127.0.0.1/tcp/{other.getsockname()[1]}"
        with pytest.raises(ListenFailed, match=f"{taken}: the port is in use"):
            async with host("a", listen=[taken, "/ip4/127.0.0.2/tcp/0"]):
                pass
