"""Programs for a machine and a controller of a test: what they change is real, and whom they would ask is not.

`beectl` is the real one for whatever it does on the controller alone (roots, certificates); what it would ask of a mesh
is answered from `mesh.json`. `systemctl` starts no daemon: it has the release that is installed look at the machine's
real keys and certificate, and notes in `mesh.json` who runs with what.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
_BIN = Path(sys.executable).parent

_COMMON = """#!{python} -ES
import json, os, pathlib, sys, time
place = pathlib.Path({place!r})

def mesh(change=None):
    path = place / "mesh.json"
    known = json.loads(path.read_text())
    if change is not None:
        change(known)
        path.with_suffix(".new").write_text(json.dumps(known))
        path.with_suffix(".new").replace(path)
    return known

def here(point):
    # Half way through: whoever waits for this presses Ctrl-C now.
    trap = place / "trap"
    if trap.exists() and trap.read_text() == point:
        trap.unlink()
        (place / "reached").touch()
        time.sleep(60)
"""

_BEECTL = """
given = sys.argv[1:]
words = []
for number, word in enumerate(given):
    before = given[number - 1] if number else ""
    if not word.startswith("-") and not (before.startswith("--") and "=" not in before):
        words.append(word)
command = " ".join(words[:2])
if command in ("keys inspect", "mesh init", "mesh info", "cert sign"):
    os.execv({beectl!r}, [{beectl!r}, *given])
if not sys.stdin.isatty():
    os.environ.get("BEEMESH_PASSPHRASE_FILE") and sys.stdin.read()

def node(name):
    about = mesh()["machines"][name]
    return {{
        "kind": "Node",
        "metadata": {{"name": name}},
        "spec": {{"unschedulable": about["cordoned"]}},
        "status": {{
            "conditions": [{{"type": "Ready", "status": str(about["ready"])}}],
            "nodeInfo": {{"kubeletVersion": about.get("version", "")}},
        }},
    }}

def machine(name, **values):
    if name not in mesh()["machines"]:
        sys.exit(f"error: there is no machine {{name}}")
    mesh(lambda known: known["machines"][name].update(values))

def count(what):
    mesh(lambda known: known.update({{what: known.get(what, 0) + 1}}))

answer = {{"changed": True}}
if command.startswith("get machines,"):
    answer = {{"items": [node(name) for name in mesh()["machines"]]}}
elif command == "get workloads":
    alone = not any(about["ready"] for about in mesh()["machines"].values()) and (place / "alone").exists()
    answer = {{"items": [] if alone else [{{"metadata": {{"uid": "1", "name": "hello"}}}}]}}
elif words == ["get", "machines"]:
    believed = [name for name, about in mesh()["machines"].items() if not about.get("revoked")]
    answer = {{"items": [node(name) for name in believed]}}
elif words[:2] == ["get", "machines"]:
    machine(words[2])
    answer = node(words[2])
elif words[0] == "drain":
    machine(words[1], cordoned=True)
    if not mesh()["machines"][words[1]]["ready"]:
        sys.exit(f"error: {{words[1]}} does not answer")
    here("drain")
    machine(words[1], pods=0)
elif words[0] == "uncordon":
    machine(words[1], cordoned=False)
elif command == "cert revoke":
    if "--superseded" in words + given:
        count("superseded")
    else:
        name = words[2].partition("/")[2]
        answer["changed"] = not mesh()["machines"][name].get("revoked")
        machine(name, revoked=True)
elif command == "mesh rotate-epoch":
    count("epochs")
else:
    sys.exit("error: this beectl does not pretend " + " ".join(given))
print(json.dumps(answer))
"""

_SYSTEMCTL = """
import subprocess
name = os.environ["PRETEND_MACHINE"]
unit = pathlib.Path("/etc/systemd/system/beemeshd.service")
enabled, socket = pathlib.Path("/etc/pretend-enabled"), pathlib.Path("/run/beemesh/beemeshd.sock")
words = [word for word in sys.argv[1:] if not word.startswith("-")]
do, what = (words + ["", ""])[:2]
other = what not in ("beemeshd", "beemeshd.service")
helper = pathlib.Path("/run/pretend-active", what)

def prepare(path):
    for line in path.read_text().splitlines():
        if line.startswith("ExecStartPre="):
            subprocess.run(line.partition("=")[2].lstrip("-+").split(), check=True)

def stop():
    socket.unlink(missing_ok=True)
    mesh(lambda known: name in known["machines"] and known["machines"][name].update(ready=False))

def start():
    if not pathlib.Path("/var/lib/beemesh/machine.cert").exists():
        return
    done = subprocess.run(["/opt/beemesh/venv/bin/beemeshd", "pretend"], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        sys.exit("Job for beemeshd.service failed")
    prepare(unit)
    version = subprocess.run(["/opt/beemesh/venv/bin/beemeshd", "version", "-o", "json"], capture_output=True)
    now = {{"peer": done.stdout.strip(), "release": pathlib.Path("/opt/beemesh/venv/release").read_text().strip()}}
    now |= json.loads(version.stdout)
    before = mesh()["machines"].get(name, {{}})
    now["starts"] = before.get("starts", 0) + 1
    now["revoked"] = before.get("revoked", False) and now["peer"] == before["peer"]
    mesh(lambda known: known["machines"].setdefault(name, {{"cordoned": False}}).update(ready=True, **now))
    socket.parent.mkdir(exist_ok=True)
    socket.touch()

if do in ("is-enabled", "is-active"):
    on = other or (enabled if do == "is-enabled" else socket).exists()
    print({{"is-enabled": ("disabled", "enabled"), "is-active": ("inactive", "active")}}[do][on])
    sys.exit(not on)
if do == "show":
    active = "active" if (helper if other else socket).exists() else "inactive"
    print(f"Id={{what}}\\nLoadState={{'loaded' if other or unit.exists() else 'not-found'}}\\nActiveState={{active}}")
if other and do in ("start", "restart"):
    prepare(unit.with_name(what))
    helper.parent.mkdir(exist_ok=True)
    with helper.open("a") as starts:
        starts.write(do + " ")
if not other and not (place / "stuck").exists():
    if do in ("stop", "restart"):
        stop()
    if do in ("start", "restart") and not socket.exists():
        start()
    if do == "enable":
        enabled.touch()
    if do == "disable":
        enabled.unlink(missing_ok=True)
"""

_PODMAN = """
images = pathlib.Path("/var/lib/pretend-images")
known = images.read_text().split() if images.exists() else []
if sys.argv[1] == "load":
    here("podman load")
    images.write_text("\\n".join(sorted({{*known, pathlib.Path(sys.argv[-1]).name}})))
elif sys.argv[1] == "images":
    print("\\n".join(known))
"""

_RELEASE = """
# In place of the role's release.py: a release that has nothing but a beemeshd that can be pretended to run.
import io, tarfile
wanted = (place / "wanted-release").read_text().strip()
archive = place / "releases" / (wanted + ".tar.gz")
made = not archive.exists()
if made and "--dry-run" not in sys.argv:
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("beemeshd", "beectl"):
            text = (place / "launcher").read_text().replace("RELEASE", wanted).encode()
            member = tarfile.TarInfo("bin/" + name)
            member.size, member.mode = len(text), 0o755
            tar.addfile(member, io.BytesIO(text))
print(json.dumps({{"archives": [str(archive)], "release": wanted, "bytes": 10000, "made": made}}))
"""

_LAUNCHER = f"""#!/bin/sh
case RELEASE in *broken*) echo "this release does not start" >&2; exit 1;; esac
[ "$1" != version ] || {{ echo '{{"version": "RELEASE"}}'; exit; }}
if [ "$1" = pretend ]; then
    exec {sys.executable} -c 'from pathlib import Path
from beemesh_node.daemon.enrolment import load_membership
print(load_membership(Path("/var/lib/beemesh")).identity.peer.peer_id)'
fi
exec {_BIN}/beemeshd "$@"
"""

_STEP = """#!/bin/sh
{real} "$@" || exit
trap=$(cat {place}/trap 2>/dev/null)
[ "$trap" != "{name} $1 $2" ] || {{ rm {place}/trap; touch {place}/reached; exec sleep 60; }}
"""
_NOT_THERE = "#!/bin/sh\nexit 1\n"
_INSTALLED = '#!/bin/sh\nfor word; do case $word in -*|"$"*|*{*) ;; *) echo "installed $word";; esac; done\n'


def write_programs(place: Path) -> None:
    """Put all of them into `bin` below `place`, with an empty mesh."""
    own = {
        "beectl": _BEECTL,
        "systemctl": _SYSTEMCTL,
        "podman": _PODMAN,
        "release": _RELEASE,
    }
    values = {"python": sys.executable, "place": str(place), "beectl": str(_BIN / "beectl")}
    programs = {name: (_COMMON + text).format(**values) for name, text in own.items()}
    for name in ("mv", "tar", "rm"):
        programs[name] = _STEP.format(real=f"/bin/{name}", place=place, name=name)
    # Nothing that the roles do may reach this computer's own firewall or packages.
    programs.update(dict.fromkeys(("firewall-cmd", "ufw", "nft", "apt-get", "dnf", "apk", "reboot"), _NOT_THERE))
    programs.update(dict.fromkeys(("dpkg-query", "rpm"), _INSTALLED))
    (place / "bin").mkdir(parents=True)
    for name, text in programs.items():
        (place / "bin" / name).write_text(text)
        (place / "bin" / name).chmod(0o755)
    (place / "launcher").write_text(_LAUNCHER)
    (place / "mesh.json").write_text(json.dumps({"machines": {}}))


def mesh_at(place: Path) -> dict[str, Any]:
    """What the pretended mesh knows."""
    known: dict[str, Any] = json.loads((place / "mesh.json").read_text())
    return known
