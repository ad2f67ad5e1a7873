"""A stage for playbooks: a controller, and a machine whose /etc, /opt, /run, /usr/local and /var/lib are its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from tests.node.collection.pretending import ROOT, mesh_at, write_programs

INTERRUPTED = 99
"""Ansible's exit code after Ctrl-C."""
MACHINE = "web1"
OWN = ("etc", "opt", "run", "usr/local", "var/lib")
_SECONDS = 600

_CONNECTION = '''
"""Runs commands in the mount namespace of a machine."""
import shlex
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
    name: staged
    short_description: a machine of a test
    description: [as local, in another mount namespace]
    author: Beemesh contributors
    extends_documentation_fragment: [connection_pipelining]
    options:
        become_success_timeout: {type: int, default: 10, description: as local}
        become_strip_preamble: {type: bool, default: true, description: as local}
        enter:
            description: command that enters it
            vars: [{name: staged_enter}]
"""


class Connection(Local):
    transport = "staged"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        return super().exec_command(f"{self.get_option('enter')} sh -c {shlex.quote(cmd)}", in_data, sudoable)

    def fetch_file(self, in_path, out_path):
        with open(out_path, "wb") as file:
            file.write(self.exec_command("cat " + shlex.quote(in_path))[1])
'''

CALLBACK = '''
"""Presses Ctrl-C: a SIGINT to Ansible and all that it started in its process group, as a terminal does."""
import os
import signal
import time
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "interrupt"

    def __init__(self):
        super().__init__()
        self._when, _, self._what = os.environ["INTERRUPT"].partition(" ")

    def _press(self):
        self._when = ""
        # A worker that is killed while it holds the lock of its results has Ansible wait for ever.
        time.sleep(0.1)
        os.killpg(0, signal.SIGINT)

    def v2_runner_on_ok(self, result):
        # After each task that changed something, once: it is in no other run's list.
        if self._when == "anew" and result._result.get("changed"):
            name = result._task.get_name()
            with open(self._what, "a+") as seen:
                seen.seek(0)
                if name + "\\n" not in seen.readlines():
                    seen.write(name + "\\n")
                    seen.flush()
                    self._press()
        if self._when == "after" and result._task.get_name().endswith(self._what):
            self._press()

    def v2_runner_item_on_ok(self, result):
        name, _, item = self._what.partition(": ")
        if self._when == "item" and result._task.get_name().endswith(name) and result._result["item"] == item:
            self._press()
'''


@dataclass(frozen=True)
class Played:
    """The outcome of a playbook."""

    code: int
    said: str

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        return sum(map(int, re.findall(r"changed=(\d+)", self.said)))

    def tells(self, *words: str) -> bool:
        """Whether all the words stand in what was said, however its lines are broken."""
        flat = " ".join(self.said.split())
        return all(word in flat for word in words)


class Stage:
    """One machine, and the controller of its mesh. Needs root, and a kernel with overlay file systems."""

    def __init__(self, like: Stage | None = None) -> None:
        # An overlay's upper directory cannot lie in another overlay, as /tmp does in a container.
        self.place = Path(tempfile.mkdtemp(prefix="bmst-", dir="/dev/shm"))
        write_programs(self.place)
        self.mesh_dir = self.place / "mesh"
        for name in ("upper", "work"):
            for part in OWN:
                (self.place / name / part).mkdir(parents=True)
        if like is not None:
            for name in ("mesh", "upper"):
                shutil.copytree(like.place / name, self.place / name, symlinks=True, dirs_exist_ok=True)
            for name in ("mesh.json", "wanted-release"):
                shutil.copy(like.place / name, self.place / name)
        for name, text in (("connection/staged.py", _CONNECTION), ("callback/interrupt.py", CALLBACK)):
            (self.place / name).parent.mkdir()
            (self.place / name).write_text(text)
        self._machine = self._mount()
        enter = (
            f"nsenter --mount --target {self._machine.pid} "
            f"env PRETEND_MACHINE={MACHINE} PYTHONPATH={ROOT} PATH={self.place}/bin:$PATH"
        )
        self._enter = enter
        host = {
            "ansible_connection": "staged",
            "ansible_host": "127.0.0.1",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "staged_enter": enter,
            "beemesh_mesh_dir": str(self.mesh_dir),
            "beemesh_beectl": str(self.place / "bin" / "beectl"),
            "beemesh_source": str(ROOT),
            "beemesh_health_timeout": 3,
            "node_builder_python": str(self.place / "bin" / "release"),
            "node_python": sys.executable,
        }
        self._hosts: dict[str, dict[str, Any]] = {MACHINE: host}
        self._inventory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._machine.kill()
        self._machine.wait()
        shutil.rmtree(self.place)

    def _mount(self) -> subprocess.Popen[str]:
        overlays = "".join(
            f"mount -t overlay overlay -o lowerdir=/{part},upperdir=upper/{part},workdir=work/{part} /{part}\n"
            for part in OWN
        )
        script = (
            f"cd {self.place}\n{overlays}"
            "echo systemd >comm\nmount --bind comm /proc/1/comm\nmkdir -p /run/systemd/system\n"
            "echo ready\nexec sleep 3600"
        )
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script]
        started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        return started

    def _inventory(self) -> None:
        groups = {"mesh": {"hosts": self._hosts}, "bake": {"hosts": {MACHINE: {}}}}
        (self.place / "hosts.yml").write_text(yaml.safe_dump(groups))

    def add_lost(self, name: str) -> None:
        """Have a second machine in the inventory, which cannot be reached."""
        lost = {"ansible_connection": "ssh", "ansible_port": 1}
        self._hosts[name] = {**self._hosts[MACHINE], **lost}
        self._inventory()

    def everything(self) -> dict[str, bytes]:
        """All that is on the machine and on the controller, but for Ansible's own."""
        places = [self.place / "mesh", self.place / "upper", self.place / "mesh.json", self.place / "releases"]
        files = [path for place in places for path in [place, *place.rglob("*")] if path.is_file()]
        return {str(path): path.read_bytes() for path in files}

    def want(self, release: str) -> None:
        """Have this release be the one that is installed from now on."""
        (self.place / "wanted-release").write_text(release)

    def on(self, script: str) -> str:
        """What a shell script says on the machine."""
        words = ["sh", "-c", f"{self._enter} sh -ec {json.dumps(script)}"]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    def begin(self, script: str) -> subprocess.Popen[str]:
        """Have a shell script run on the machine."""
        words = ["sh", "-c", f"{self._enter} sh -ec {shlex.quote(script)}"]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    @property
    def machine(self) -> dict[str, Any]:
        """What the mesh knows of it."""
        found: dict[str, Any] = mesh_at(self.place)["machines"][MACHINE]
        return found

    @property
    def mesh(self) -> dict[str, Any]:
        return mesh_at(self.place)

    def play(
        self, name: str, *words: str, interrupt: str = "never", trap: str = "", code: int | None = None, **told: object
    ) -> Played:
        """Run a playbook of the collection; press Ctrl-C as `interrupt` says, or when a program comes to the `trap`."""
        (self.place / "reached").unlink(missing_ok=True)
        (self.place / "trap").unlink(missing_ok=True)
        if trap:
            (self.place / "trap").write_text(trap)
        playbook = str(ROOT / "playbooks" / f"{name}.yml")
        arguments = ["-i", str(self.place / "hosts.yml"), "-e", json.dumps(told), *words, playbook]
        with (self.place / "said").open("w+") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "ansible", "playbook", *arguments],
                env=self._environment(interrupt),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            if trap:
                deadline = time.monotonic() + _SECONDS
                while not (self.place / "reached").exists() and process.poll() is None:
                    assert time.monotonic() < deadline, f"{trap} was not reached"
                    time.sleep(0.05)
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=_SECONDS)
            finally:
                process.kill()
            played = Played(process.returncode, (self.place / "said").read_text())
        assert code is None or played.code == code, played.said
        return played

    def interrupt_everywhere(self, name: str, **told: object) -> list[str]:
        """Run a playbook again and again, each time until a task has changed something that did not in a run before.

        The last run ends by itself. Returns the tasks after which Ctrl-C was pressed.
        """
        seen = self.place / "seen"
        seen.write_text("")
        while (played := self.play(name, interrupt=f"anew {seen}", **told)).code == INTERRUPTED:
            print(f"{name}: interrupted after {seen.read_text().splitlines()[-1]}")
        assert played.code == 0, played.said
        return [line.rpartition(" : ")[2] for line in seen.read_text().splitlines()]

    def _environment(self, interrupt: str) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_HOME": str(self.place / "ansible"),
            "ANSIBLE_REMOTE_TEMP": str(self.place / "ansible" / "remote"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_CONNECTION_PLUGINS": str(self.place / "connection"),
            "ANSIBLE_CALLBACK_PLUGINS": str(self.place / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "interrupt",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "INTERRUPT": interrupt,
        }
