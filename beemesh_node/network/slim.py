"""Loads only the part of py-libp2p that this node runs.

py-libp2p imports every transport and discovery method that it has: QUIC, WebRTC, WebSocket, automatic TLS, mDNS, UPnP,
a DNS client, metrics and, with them, some forty distributions that TCP, Noise, Yamux, gossipsub and Kademlia never use.
That is 1.3 s of start and 30 MB of memory in every process, and compilers on devices that have none. So, openly:

* the package `libp2p` is entered without running its `__init__`, which imports all of it and takes over logging;
* the modules named in `STUBS` become inert stubs, whether or not they are installed. A name taken from a stub is a
  class that nothing is an instance of; calling it raises `StubCalled`;
* what is named in `ABSENT` is not found, whether or not it is installed.

Stubs are found only by imports that start while `libp2p_parts` runs: before and after, the process imports what it
likes.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., object])

STUBS: tuple[str, ...] = (
    # Distributions that need not be installed; where they are, it is not for libp2p.
    "anyio",  # services run on trio
    "blake3",  # hashes of multihash other than SHA-256
    "cbor2",  # IPNS records
    "mmh3",  # hashes of multihash other than SHA-256
    "prometheus_client",  # metrics of the library: those of the daemon are its own
    "psutil",  # memory limits of the resource manager
    "trio_typing",  # annotations
    # Parts of libp2p and multiaddr that are not run, and what they would import.
    "libp2p.bitswap",
    "libp2p.crypto.rsa",
    "libp2p.crypto.secp256k1",
    "libp2p.discovery",
    "libp2p.security.secio",
    "libp2p.security.tls",
    "libp2p.transport.quic",
    "libp2p.transport.websocket",
    "multiaddr.resolvers",
)

ABSENT: tuple[str, ...] = ("cffi",)
"""pycryptodome goes on without: ctypes calls its Salsa20 as fast, and a parser of C costs 50 ms at each start."""


class StubCalled(RuntimeError):
    """Something of libp2p that this node does not run was called after all."""


class _Stub(type):
    """Class of the names taken from stubs: good for annotations, `except` and `isinstance`, but not for calls."""

    def __call__(cls, *args: object, **kwargs: object) -> Any:
        raise StubCalled(f"{cls.__qualname__} is a stub: this node does not run that part of libp2p")

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _stub(f"{cls.__qualname__}.{name}")

    def __getitem__(cls, parameters: object) -> type:
        return cls  # some annotations are evaluated when a function is defined


def _stub(qualified_name: str) -> type:
    return _Stub(qualified_name.rsplit(".", 1)[-1], (Exception,), {"__qualname__": qualified_name})


class _StubModule(types.ModuleType):
    """A module in which every public name exists."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _stub(f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value


class _NoResolver:
    """Stands where Swarm makes a DNS resolver: names are resolved by `addresses`, before libp2p is asked to dial."""

    async def resolve(self, *args: object, **kwargs: object) -> Any:
        raise StubCalled("libp2p was asked to dial a name: resolve it first")


def _unchanged(function: _F) -> _F:
    """Stands for decorators that only serve type checkers."""
    return function


class _NoHash:
    """Stands where multihash makes one of each hash that it knows, to see whether it can be made."""


_SUPPLIED: dict[str, dict[str, object]] = {
    "blake3": {"blake3": _NoHash},
    "multiaddr.resolvers": {"DNSResolver": _NoResolver},
    "trio_typing": {"takes_callable_and_args": _unchanged},
}


class _StubFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stubs for the modules of `STUBS` and everything under them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in ABSENT:
            raise ModuleNotFoundError(f"{fullname} is left out", name=fullname)
        if any(fullname == name or fullname.startswith(name + ".") for name in STUBS):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StubModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module).update(_SUPPLIED.get(module.__name__, {}))


@contextmanager
def libp2p_parts() -> Iterator[None]:
    """Within this block, importing submodules of libp2p loads the slim library.

    Raises:
        RuntimeError: libp2p was imported whole before, or is not installed.
    """
    _enter_package("libp2p")
    replaced = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_stubbed_distribution(name)}
    finder = _StubFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _is_stubbed_distribution(name)]:
            del sys.modules[name]  # libp2p keeps its references; others shall find the real package, if there is one
        sys.modules.update(replaced)


def _is_stubbed_distribution(name: str) -> bool:
    top = name.partition(".")[0]
    return top in STUBS


def _enter_package(name: str) -> None:
    """Make `import NAME.part` work without running `NAME/__init__.py`."""
    present = sys.modules.get(name)
    if present is not None:
        if getattr(present, "__file__", None) is not None:
            raise RuntimeError(
                f"{name} was imported before the network: nothing but beemesh_node.network may import it"
            )
        return
    spec = importlib.machinery.PathFinder.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise RuntimeError(f"{name} is not installed: install the node's locked requirements")
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    package.__spec__.submodule_search_locations = package.__path__
    sys.modules[name] = package
