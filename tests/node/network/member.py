"""A member in a process of its own: `python -m network.member NAME BOOTSTRAP...`.

Prints its first address, gossips its name four times a second, and ends when its standard input ends.
"""

import sys

import trio

from beemesh_node.network.host import MeshHost

from .meshing import accept_all, host


async def gossip(opened: MeshHost, name: str) -> None:
    while True:
        await opened.publish("names", name.encode())
        await trio.sleep(0.25)


async def main(name: str, bootstrap: list[str]) -> None:
    async with host(name, bootstrap=bootstrap) as opened, trio.open_nursery() as nursery:
        opened.subscribe("names", accept_all)
        nursery.start_soon(gossip, opened, name)
        sys.stdout.write(opened.addresses()[0] + "\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2:])
