"""The image of a lab machine, and the small web image that `examples/hello.yml` runs.

No registry is assumed: a machine is a Debian made by mmdebstrap, the web server is Debian's static busybox.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from labs.host import Host
from labs.paths import CACHE
from labs.run import LabError, run, run_logged

MACHINE_REPOSITORY = "localhost/beemesh-machine"
HELLO_IMAGE = "localhost/beemesh-hello:latest"
HELLO_ARCHIVE = CACHE / "hello.tar"

_OVERLAY = Path(__file__).parent / "image"
_PACKAGES = (
    "busybox-static,ca-certificates,catatonit,curl,dbus,iproute2,iptables,libfaketime,netavark,nftables,"
    "openssh-server,podman,procps,python3,sudo,systemd,systemd-sysv"
)
_SHELL_HELLO = """#!/bin/sh
mkdir -p /www
echo "Hello from $(hostname)" > /www/index.html
exec httpd -f -p "${PORT:-8080}" -h /www
"""


def machine_image(host: Host) -> str:
    """Return the name of the image of a lab machine, building it (half a minute) if it is not there.

    The tag is a hash of everything the image is made from, so that a change of the recipe makes a new image.

    Raises:
        LabError: mmdebstrap or Podman failed.
    """
    packages = f"{_PACKAGES},{host.oci_runtime}"
    conf = host.containers_conf(inside=True)
    recipe = hashlib.sha256(f"{host.machine_suite}\n{packages}\n{conf}".encode())
    for file in _overlay_files():
        recipe.update(str(file.relative_to(_OVERLAY)).encode() + b"\0" + file.read_bytes())
    image = f"{MACHINE_REPOSITORY}:{host.machine_suite}-{recipe.hexdigest()[:12]}"
    if _exists(image):
        return image
    with tempfile.TemporaryDirectory(prefix="beemesh-image-") as directory:
        overlay = Path(directory) / "overlay"
        shutil.copytree(_OVERLAY, overlay)
        target = overlay / "etc" / "containers" / "containers.conf"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(conf)
        overlay.chmod(0o755)
        archive = Path(directory) / "machine.tar"
        run_logged(
            [
                "mmdebstrap",
                "--variant=minbase",
                f"--include={packages}",
                f"--customize-hook=sync-in {overlay} /",
                '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id; touch "$1"/etc/machine-id',
                host.machine_suite,
                str(archive),
            ],
            "machine-image",
        )
        run(["podman", "import", "--change", 'CMD ["/sbin/init"]', archive, image])
    return image


def hello_archive() -> Path:
    """Return a file with the web image, to be loaded into each machine; build it if it is not there.

    Raises:
        LabError: Podman failed, or Debian's busybox-static is missing.
    """
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    if not busybox.exists():
        raise LabError("busybox is missing: apt-get install busybox-static")
    if HELLO_ARCHIVE.exists() and HELLO_ARCHIVE.stat().st_mtime > Path(__file__).stat().st_mtime:
        return HELLO_ARCHIVE
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="beemesh-hello-") as directory:
        root = Path(directory) / "root"
        (root / "bin").mkdir(parents=True)
        for empty in ("etc", "proc", "tmp", "www"):
            (root / empty).mkdir()
        (root / "www").chmod(0o777)
        (root / "tmp").chmod(0o1777)
        shutil.copy(busybox, root / "bin" / "busybox")
        for name in ("cat", "echo", "hostname", "httpd", "ls", "mkdir", "sh", "sleep"):
            os.symlink("busybox", root / "bin" / name)
        start = root / "bin" / "hello"
        start.write_text(_SHELL_HELLO)
        start.chmod(0o755)
        layer = Path(directory) / "layer.tar"
        run(["tar", "--owner=0", "--group=0", "--numeric-owner", "-C", root, "-cf", layer, "."])
        run(["podman", "import", "--change", 'CMD ["/bin/hello"]', layer, HELLO_IMAGE])
        made = Path(directory) / "hello.tar"
        run(["podman", "save", "-o", made, HELLO_IMAGE])
        shutil.move(made, HELLO_ARCHIVE)
    return HELLO_ARCHIVE


def _overlay_files() -> list[Path]:
    return sorted(path for path in _OVERLAY.rglob("*") if path.is_file())


def _exists(image: str) -> bool:
    try:
        run(["podman", "image", "exists", image])
    except LabError:
        return False
    return True
