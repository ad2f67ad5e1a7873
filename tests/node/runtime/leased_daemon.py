"""A daemon with one leased pod, as a process of its own that tests may stop and kill.

    python -m tests.node.runtime.leased_daemon CONFIG SPEC SECONDS

It starts the pod (SPEC, as stored by the runtime) with a deadline so many seconds ahead, prints the deadline, and then
renews to each deadline that it reads.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from beemesh_node.runtime import RuntimeConfig, boottime, open_runtime
from beemesh_node.runtime.spec_codec import decode_spec
from beemesh_node.workloads.pod import PodSpec


def config_words(config: RuntimeConfig) -> str:
    """What a test hands over."""
    names = ("mesh", "node_name", "name_prefix", "network", "network_interface", "subnet")
    paths = ("state_dir", "secret_dir", "socket")
    return json.dumps({name: str(getattr(config, name)) for name in names + paths})


def main() -> None:
    values = json.loads(sys.argv[1])
    for name in ("state_dir", "secret_dir", "socket"):
        values[name] = Path(values[name])
    trio.run(keep, RuntimeConfig(**values), decode_spec(Path(sys.argv[2]).read_bytes()))


async def keep(config: RuntimeConfig, spec: PodSpec) -> None:
    async with open_runtime(config) as runtime:
        deadline = boottime() + float(sys.argv[3])
        await runtime.start(spec, deadline)
        print(deadline, flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            print(await runtime.renew(spec.identity, float(line)), flush=True)


if __name__ == "__main__":
    main()
