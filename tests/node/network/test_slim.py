"""What is left out of libp2p is not needed: not installed, not loaded, not called."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

NEEDED = {
    "baseconv",
    "base58",
    "cid",
    "Crypto",
    "cryptography",
    "google",  # protobuf
    "libp2p",
    "morphys",
    "multiaddr",
    "multibase",
    "multicodec",
    "multihash",
    "nacl",
    "netaddr",
    "noise",
    "varint",
}
OF_THE_NODE = {
    "attr",
    "attrs",
    "beemesh_node",
    "idna",
    "ifaddr",
    "markdown_it",
    "mdurl",
    "outcome",
    "pygments",
    "rich",
    "sniffio",
    "sortedcontainers",
    "structlog",
    "trio",
}
"""trio and structlog, and what they load."""
LEFT_OUT = {
    "aioquic", "anyio", "async_generator", "blake3", "cbor2", "certifi", "cffi", "coincurve", "dns", "fastecdsa",
    "grpc", "h11", "httpcore", "httpx", "importlib_metadata", "lru", "miniupnpc", "mmh3", "mypy_protobuf",
    "OpenSSL", "prometheus_client", "psutil", "pycparser", "pylsqpack", "requests", "rpcudp",
    "service_identity", "six", "trio_typing", "trio_websocket", "typing_extensions", "umsgpack", "urllib3", "wsproto",
    "zeroconf",
}  # fmt: skip
"""Top-level modules of distributions that a whole libp2p wants, and a machine of the mesh goes without."""

TWO_HOSTS = """
    import builtins, json, sys
    OF_PYTHON = set(sys.modules)  # also what a distribution adds, such as sitecustomize
    LEFT_OUT = set(json.loads(sys.argv[1]))

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in LEFT_OUT:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Absent())
    import trio
    from beemesh_node.network.api import HostConfig, Verdict
    from beemesh_node.network.host import open_host

    class Everyone:
        async def greet(self, stream, *, local, remote, initiator):
            await stream.write_frame(b"")
            await stream.read_frame(0)

    async def answer(stream, admission):
        await stream.write_frame(await stream.read_frame(100))

    async def accept(data, forwarder):
        return Verdict.ACCEPT

    async def main():
        listen = ["/ip4/127.0.0.1/tcp/0"]
        async with (
            open_host(HostConfig(bytes(32), bytes(32), listen), Everyone()) as a,
            open_host(HostConfig(b"b" * 32, bytes(32), listen), Everyone()) as b,
        ):
            a.serve("/answer/1", answer)
            inbox = a.subscribe("news", accept)
            await b.connect(a.peer_id, a.addresses())
            async with b.open(a.peer_id, "/answer/1") as stream:
                await stream.write_frame(b"x")
                assert await stream.read_frame(1) == b"x"
            with trio.fail_after(20):
                while True:
                    await b.publish("news", b"x")
                    with trio.move_on_after(0.2):
                        await inbox.receive()
                        break
                while not await b.provide("bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"):
                    await trio.sleep(0.1)
                assert await a.find_addresses(b.peer_id) == list(b.addresses())
                assert not any("stub" in repr(value).lower() for value in (*a.counters, *b.counters))
                assert not [name for name in (*a.counters, *b.counters) if name.startswith("contained")]

    trio.run(main)
    tops = {name.partition(".")[0] for name in sys.modules.keys() - OF_PYTHON} - set(sys.stdlib_module_names)
    print(json.dumps(sorted(top for top in tops if not top.startswith("_"))))
"""


def run(script: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *args], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_hosts_meet_gossip_and_search_without_what_is_left_out() -> None:
    loaded = set(json.loads(run(TWO_HOSTS, json.dumps(sorted(LEFT_OUT))).splitlines()[-1]))
    assert not loaded & LEFT_OUT
    assert loaded - OF_THE_NODE <= NEEDED


def test_what_is_left_out_is_not_loaded_where_it_is_installed() -> None:
    loaded = set(json.loads(run(TWO_HOSTS, "[]").splitlines()[-1]))
    assert not loaded & LEFT_OUT


def test_stubs_do_not_leak_to_others(tmp_path: Path) -> None:
    (tmp_path / "psutil.py").write_text("REAL = True")
    script = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import beemesh_node.network.library, beemesh_node.network.gossip, beemesh_node.network.kademlia
        import psutil
        assert psutil.REAL is True
    """
    run(script)


def test_what_others_use_for_themselves_is_real_before_and_after() -> None:
    whole = """
        import prometheus_client
        {before}
        import beemesh_node.network.library, beemesh_node.network.gossip, beemesh_node.network.kademlia
        from prometheus_client import CollectorRegistry, Counter, generate_latest
        registry = CollectorRegistry()
        Counter("seen", "Real.", registry=registry).inc()
        assert b"seen_total 1.0" in generate_latest(registry)
        assert sys.modules["prometheus_client"].Counter is Counter
    """
    run(whole.format(before="import sys"))
    run(whole.replace("import prometheus_client\n", "import sys\n", 1).format(before=""))


def test_a_stub_that_is_called_says_so() -> None:
    script = """
        from beemesh_node.network.library import libp2p_parts
        from beemesh_node.network.slim import StubCalled
        with libp2p_parts():
            from libp2p.transport.quic.config import QUICTransportConfig
        try:
            QUICTransportConfig()
        except StubCalled as error:
            assert "QUICTransportConfig" in str(error)
        else:
            raise SystemExit("a stub was called")
        try:
            raise QUICTransportConfig
        except (StubCalled, QUICTransportConfig):
            pass
    """
    run(script)


def test_the_whole_library_and_ours_do_not_mix() -> None:
    script = """
        import types, sys
        whole = types.ModuleType("libp2p"); whole.__file__ = "libp2p/__init__.py"; sys.modules["libp2p"] = whole
        try:
            import beemesh_node.network.library
        except RuntimeError as error:
            assert "imported before" in str(error)
        else:
            raise SystemExit("it was accepted")
    """
    run(script)


@pytest.mark.parametrize("module", ["api", "host", "addresses", "identity", "pipe"])
def test_names_and_types_cost_no_libp2p(module: str) -> None:
    run(f"import sys, beemesh_node.network.{module}; assert not any('libp2p' in name for name in sys.modules)")


def test_another_version_of_the_library_is_refused() -> None:
    script = """
        import importlib.metadata
        importlib.metadata.version = lambda name: "0.8.2"
        try:
            import beemesh_node.network.library
        except ImportError as error:
            assert "0.8.2" in str(error) and "0.8.1" in str(error)
        else:
            raise SystemExit("it was accepted")
    """
    run(script)
