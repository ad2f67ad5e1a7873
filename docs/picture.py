"""Draws at-work.svg: what a terminal shows of a mesh that runs `examples/hello.yml` and loses a machine.

python -m docs.picture

Every line is what the commands said. The machines are network namespaces, as in the integration tests, each with a
Podman and a `beemeshd` of its own; needs root, podman, busybox and tcpdump.
"""

import io
import shlex
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.node.integration.machine import Machine
from tests.node.integration.mesh import Mesh, Operator
from tests.node.integration.segment import Segment
from tests.node.integration.waiting import until
from tests.node.runtime.podman_service import busybox_image

_MACHINES = ("cloud-1", "rack-1", "rack-2")
_SERVE = 'CMD ["sh", "-c", "mkdir /tmp/w; echo hello >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"]'
_WIDTH = 124
_LONG = 120.0


class Picture:
    """A terminal whose every line is kept."""

    def __init__(self) -> None:
        self.console = Console(record=True, width=_WIDTH, file=io.StringIO(), highlight=False)

    def type(self, operator: Operator, line: str) -> None:
        """Run `beectl` as the line says and keep what it prints."""
        self.console.print(Text.assemble(("$ ", "bold green"), (f"beectl {line}", "bold")))
        done = operator.run(*shlex.split(line))
        self.console.print(Text((done.out + done.err).rstrip() + "\n"))

    def say(self, what: str) -> None:
        """Tell what happens outside of the terminal."""
        self.console.print(Text(f"# {what}\n", "yellow"))


def draw(picture: Picture, mesh: Mesh) -> None:
    """Type the commands."""
    first = mesh.machines[0]
    operator = mesh.admin.enter_by(first)
    picture.type(operator, "apply -f examples/hello.yml --wait")
    picture.type(operator, "get machines")
    picture.type(operator, "get pods -o wide")
    victim = next(pod["spec"]["nodeName"] for pod in mesh.pods(operator) if pod["spec"]["nodeName"] != first.name)
    mesh.segment.plugged(victim, plugged=False)
    picture.say(f"the network cable of {victim} is pulled; a little later:")

    def replaced() -> bool:
        pods = mesh.pods(operator)
        running = [pod for pod in pods if pod["status"]["phase"] == "Running" and pod["spec"]["nodeName"] != victim]
        return len(running) == len(pods) == 2

    until(replaced, f"the pod of {victim} runs elsewhere", _LONG)
    picture.type(operator, "get pods -o wide")
    picture.type(operator, "exec deployment/hello -- wget -qO- http://localhost:8080")


def boot(machine: Machine) -> None:
    """Start a machine that has the image of `examples/hello.yml`."""
    machine.start_podman()
    if machine.podman is not None:
        machine.podman.run("import", "--change", _SERVE, "-", "localhost/beemesh-hello:latest", stdin=busybox_image())
    machine.start()


def main() -> None:
    """Write the picture beside this file."""
    picture = Picture()
    with (
        tempfile.TemporaryDirectory(prefix="bmp-") as directory,
        Segment() as segment,
        Mesh(Path(directory), segment, "home") as mesh,
    ):
        for name in _MACHINES:
            boot(mesh.add(name))
        mesh.settle()
        draw(picture, mesh)
    svg = picture.console.export_svg(title="beemesh", theme=MONOKAI, unique_id="beemesh")
    Path(__file__).with_name("at-work.svg").write_text(svg)


if __name__ == "__main__":
    main()
